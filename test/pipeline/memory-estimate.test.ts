import { join } from "node:path";
import { expect, test } from "vitest";
import { METHODS, type Settings } from "../../src/compress/settings.js";
import { isMoe } from "../../src/model/description.js";
import { memoryEstimate } from "../../src/pipeline/inspect.js";
import type { MemoryWork } from "../../src/pipeline/memory-estimate.js";
import { openModel } from "../../src/pipeline/open-model.js";
import { GOLDENS } from "../support/goldens.js";

const opened = await openModel(join(GOLDENS, "ream/qwen3_moe/model"));
await opened.checkpoint.close();
const { model } = opened;
const { width, hidden } = model.layers.find(isMoe)!.feedForward.experts;

const estimate = (settings: Partial<Settings>, work: Partial<MemoryWork> = {}) =>
  memoryEstimate(opened, {
    ...{ sequences: 8, length: 64, precision: "bf16", kept: 12 },
    ...work,
    settings: { ...METHODS.ream.settings, ...settings },
  });

test("weights are counted in the form of the products, and experts that were merged beside them", () => {
  const expert = 2 * 3 * width * hidden;
  const pruned = estimate(METHODS.reap.settings).layerWeights;
  expect(model.experts).toBe(16);
  expect(estimate(METHODS.reap.settings, { precision: "f32" }).layerWeights).toBe(2 * pruned);
  // Four experts are absorbed: by one centroid, by two, or each by another.
  expect(estimate({ groupSize: 16 }).layerWeights).toBe(pruned + expert);
  expect(estimate({ groupSize: 3 }).layerWeights).toBe(pruned + 2 * expert);
  expect(estimate({ grouping: "nearest" }).layerWeights).toBe(pruned + 4 * expert);
  expect(estimate({ grouping: "nearest" }, { kept: 1 }).layerWeights).toBe(pruned + expert);
});

test("refits are counted, up to the tokens that they look at", () => {
  const plan = { parts: "all", tokens: 256, random: 0 } as const;
  const plain = estimate({});
  const refitted = estimate({}, { refit: plan });
  expect(plain.refit).toBe(0);
  expect(refitted.bytes - plain.bytes).toBe(refitted.refit);
  expect(estimate({}, { refit: plan, sequences: 8000 }).refit).toBe(refitted.refit);
  // Weights that descend together are of few experts where all would be too many.
  const weights = 3 * width * hidden * 12;
  const rows = 2 * 4 * 256 * hidden;
  expect(refitted.refit).toBe(rows + (2 + 4 * 5) * weights);
  // Random tokens are looked at besides, and go through the layers: one sequence of 64.
  const more = estimate({}, { refit: { ...plan, random: 0.25 } });
  expect(more.refit).toBe(1.25 * rows + (2 + 4 * 5) * weights);
  expect(more.hiddenStates - plain.hiddenStates).toBe(4 * 64 * hidden);
});

test("hidden states grow with the tokens, samples to their number, a batch not beyond its size", () => {
  const few = estimate({ samples: 1024 });
  const many = estimate({ samples: 1024 }, { sequences: 8000 });
  expect(few.hiddenStates).toBe(4 * 512 * model.hiddenSize);
  expect(many.hiddenStates).toBe(1000 * few.hiddenStates);
  expect(many.samples).toBe(2 * few.samples);
  expect(many.batch).toBe(8 * few.batch);
  expect(estimate({ merging: "none" }).samples).toBe(0);
});
