import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { encodeSafetensors } from "../../src/checkpoint/safetensors-encode.js";
import { resolveSettings } from "../../src/compress/settings.js";
import { memoryEstimate } from "../../src/pipeline/inspect.js";
import { openModel } from "../../src/pipeline/open-model.js";
import { Random } from "../../src/random.js";
import { ream } from "../support/command.js";
import { writeSyntheticModel } from "../support/synthetic-model.js";

const folder = mkdtempSync(join(tmpdir(), "ream-memory-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const MIB = 1024 * 1024;

interface Sizes {
  readonly hidden: number;
  readonly width: number;
  readonly experts: number;
  readonly kept: number;
  readonly layers: number;
}

/** Writes a model and calibration tokens; compresses it. */
async function compressed(name: string, { kept, ...sizes }: Sizes) {
  const model = join(folder, name);
  const layerBytes = writeSyntheticModel(model, { ...sizes, topK: 4, vocabulary: 256 });
  const random = new Random(sizes.layers);
  const data = new Uint8Array(Int32Array.from({ length: 8 * 64 }, () => random.below(256)).buffer);
  const tokens = join(folder, "tokens.safetensors");
  writeFileSync(tokens, encodeSafetensors(new Map([["input_ids", { dtype: "I32", shape: [8, 64], data }]])));
  const opened = await openModel(model);
  const settings = resolveSettings("ream", {});
  const estimate = memoryEstimate(opened, { sequences: 8, length: 64, precision: "bf16", kept, settings });
  await opened.checkpoint.close();
  const out = join(folder, `out-${name}`);
  const options = ["--experts", `${kept}`, "--method", "ream", "--tokens", tokens, "--backend", "native", "--json"];
  const outcome = await ream(["compress", model, "--out", out, ...options]);
  expect(outcome.stderr + outcome.code).toMatch(/0$/);
  rmSync(model, { recursive: true });
  rmSync(out, { recursive: true });
  const { peakMemory } = JSON.parse(outcome.stdout) as { peakMemory: number };
  return { layerBytes, estimate, peakMemory };
}

test("a layer is in memory once, as its estimate says", async () => {
  const sizes = { hidden: 1024, width: 1024, experts: 72, kept: 54, layers: 2 };
  const { layerBytes, estimate, peakMemory } = await compressed("large", sizes);
  expect(layerBytes).toBeGreaterThan(430 * MIB);
  expect(estimate.layerWeights).toBeGreaterThan(layerBytes);
  expect(estimate.layerWeights).toBeLessThan(1.2 * layerBytes);
  expect(peakMemory).toBeGreaterThan(layerBytes);
  expect(peakMemory).toBeLessThan(estimate.bytes);
}, 600_000);

test("24 layers of 64 MB need at most 300 MB more than 2", async () => {
  const sizes = { hidden: 512, width: 1024, experts: 21, kept: 16 };
  const few = await compressed("few", { ...sizes, layers: 2 });
  const many = await compressed("many", { ...sizes, layers: 24 });
  expect(few.layerBytes).toBeGreaterThan(62 * MIB);
  expect(many.peakMemory - few.peakMemory).toBeLessThan(300 * MIB);
}, 600_000);
