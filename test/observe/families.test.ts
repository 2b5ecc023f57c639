import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { PAPER_MIXES } from "../../src/calibration/paper-mixes.js";
import { observe } from "../../src/observe/observe.js";
import { follow } from "../../src/pipeline/follow.js";
import { GOLDENS } from "../support/goldens.js";
import { dryPlan, groups, permutations, TEXT, writeCharacterTokenizer } from "./demo-text.js";

const folder = mkdtempSync(join(tmpdir(), "ream-observe-families-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test.each(readdirSync(join(GOLDENS, "ream")))("%s: ten mixes, from an observation as directly", async (name) => {
  const model = join(GOLDENS, "ream", name, "model");
  const text = { ...TEXT, tokenizer: writeCharacterTokenizer(folder) };
  const observed = join(folder, name);
  await follow(observe({ ...text, model, precision: "f32", out: observed }), () => undefined);
  for (const method of ["reap", "ream"] as const) {
    for (const mix of PAPER_MIXES) {
      const common = { model, method, experts: 12, mix, precision: "f32" } as const;
      const direct = await dryPlan({ ...text, ...common, sequential: false });
      const indirect = await dryPlan({ ...common, observed });
      expect(groups(indirect.plan)).toEqual(groups(direct.plan));
      expect(permutations(indirect.plan)).toEqual(permutations(direct.plan));
    }
  }
});
