import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { compress } from "../../src/pipeline/compress.js";
import type { CompressOptions } from "../../src/pipeline/options.js";
import { resolveCompress } from "../../src/pipeline/resolve-options.js";
import { GOLDENS } from "../support/goldens.js";

const folder = mkdtempSync(join(tmpdir(), "ream-resolve-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const PLAIN = { model: "m", experts: 12 } as const;

test.each<[string, CompressOptions, boolean, "all" | "none" | "down"]>([
  ["nothing is named", PLAIN, false, "all"],
  ["a setting is changed", { ...PLAIN, saliency: "energy" }, false, "all"],
  ["a method is named", { ...PLAIN, method: "ream" }, false, "none"],
  ["a method and a refit are named", { ...PLAIN, method: "reap", reconstruct: "down" }, false, "down"],
  ["a refit is named", { ...PLAIN, reconstruct: "down" }, false, "down"],
  ["none is wanted", { ...PLAIN, reconstruct: "none" }, false, "none"],
  ["no text is run: observed", { ...PLAIN, observed: "o" }, false, "none"],
  ["no text is run: plan", { model: "m", plan: "p.json" }, false, "none"],
  ["only a plan is made", { ...PLAIN, dryRun: true }, false, "none"],
  ["layers are those of the original", { ...PLAIN, sequential: false }, false, "none"],
  ["the text is made longer in rounds", { ...PLAIN, calibrationTokens: "auto" }, false, "none"],
  ["workers plan layers", PLAIN, true, "none"],
  ["no experts are reduced", { model: "m", then: ["int8"] }, false, "none"],
])("%s: the method is there, and the refit", (_, options, split, reconstruct) => {
  expect(resolveCompress(options, split)).toMatchObject({ method: options.method ?? "ream", reconstruct });
});

async function make(name: string, options: CompressOptions) {
  const out = join(folder, name);
  for await (const _ of compress({ ...options, out }));
  return JSON.parse(readFileSync(join(out, "ream.json"), "utf8"));
}

test("a compression by default refits, one by a method that is named does not", async () => {
  const source = join(GOLDENS, "ream/qwen3_moe");
  const text = { model: join(source, "model"), tokens: join(source, "calibration.safetensors"), experts: 12 };
  const refitted = await make("default", text);
  expect(refitted).toMatchObject({ method: "ream", reconstruct: { parts: "all" } });
  expect(await make("named", { ...text, method: "ream" })).not.toHaveProperty("reconstruct");
});
