import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Checkpoint } from "../../src/checkpoint/checkpoint.js";
import { checkTensors, describeModel } from "../../src/model/describe.js";
import { forward, OutputHead } from "../../src/model/forward.js";
import { BACKENDS } from "../support/backends.js";
import { largestDifference, readTensors } from "../support/goldens.js";

const here = fileURLToPath(new URL(".", import.meta.url));
const python = join(here, "../../.peers/bin/python");
const folder = mkdtempSync(join(tmpdir(), "ream-models-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

// Skipped, and counted as skipped, where the Python peers are not installed (test/peers/README.md).
describe.skipIf(!existsSync(python))("random Qwen3-MoE models of many configurations", () => {
  beforeAll(() => {
    execFileSync(python, [join(here, "make_models.py"), folder], { stdio: ["ignore", "ignore", "pipe"] });
  });

  test.each(Object.entries(BACKENDS))("%s backend computes what transformers computes", async (_, create) => {
    const backend = create("f32");
    const names = readdirSync(folder).filter((name) => !name.endsWith(".safetensors"));
    expect(names.length).toBeGreaterThanOrEqual(16);
    const deviations: Record<string, number> = {};
    for (const name of names) {
      const expected = await readTensors(join(folder, `${name}.safetensors`));
      const ids = expected.get("input_ids")!;
      const checkpoint = await Checkpoint.open(join(folder, name));
      const model = describeModel(checkpoint.config, checkpoint);
      checkTensors(checkpoint, model);
      const batch = { sequences: ids.shape[0]!, length: ids.shape[1]!, ids: Int32Array.from(ids.values) };
      const [hidden] = await forward(checkpoint, model, backend, [batch]);
      const head = await OutputHead.load(checkpoint, model, backend);
      const deviation = largestDifference(head.logits(hidden!), expected.get("logits")!.values);
      if (!(deviation < 2e-4)) deviations[name] = deviation;
      head.dispose();
      await checkpoint.close();
    }
    expect(deviations).toEqual({});
  });
});
