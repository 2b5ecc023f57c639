import { expect, test } from "vitest";
import { encode } from "../../src/checkpoint/dtypes.js";
import type { Tensor } from "../../src/checkpoint/tensor.js";
import { MeanSample } from "../../src/compress/mean-sample.js";
import { LayerObserver } from "../../src/compress/observer.js";
import { resolveSettings, type Settings } from "../../src/compress/settings.js";
import type { ExpertTensors } from "../../src/engine/backend.js";
import { createReferenceBackend } from "../../src/engine/reference/reference-backend.js";
import { separateExperts } from "../../src/model/expert-storage.js";
import { inMemory, MoeBlock, type MoeTensors } from "../../src/model/moe.js";
import { Random } from "../../src/random.js";

const backend = createReferenceBackend("f32");
const [count, hidden, width] = [3, 5, 4];

function tensor(random: Random, ...shape: number[]): Tensor {
  const values = Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => random.normal());
  return { dtype: "F32", shape, data: encode("F32", values) };
}

function expert(random: Random): ExpertTensors {
  return {
    gate: tensor(random, width, hidden),
    up: tensor(random, width, hidden),
    down: tensor(random, hidden, width),
    gateBias: tensor(random, width),
    downBias: tensor(random, hidden),
  };
}

const random = new Random(1);
const all = Array.from({ length: count }, () => expert(random));
const tensors: MoeTensors = {
  router: tensor(random, count, hidden),
  experts: inMemory(all),
};
const block = new MoeBlock(
  backend,
  {
    kind: "moe",
    experts: separateExperts({ count, width, hidden, name: (e, part) => `${e}.${part}` }),
    router: { weight: "router", scores: "softmax", topK: 2, normalise: true },
    activation: "silu",
  },
  tensors,
  backend.experts(all, "silu"),
);

/** Two batches of one sequence each; padding counts only where statistics are means of batches. */
const batches = [
  { length: 6, mask: Uint8Array.of(0, 1, 1, 0, 1, 1) },
  { length: 3, mask: undefined },
].map(({ length, mask }) => ({
  x: Float32Array.from({ length: length * hidden }, () => random.normal()),
  batch: { sequences: 1, length, ids: new Int32Array(length), mask },
}));

/** Mean outputs `[experts, hidden]`, token by token from the outputs themselves. */
function meanOutputs({ statistics, gatedOutputs }: Settings): Float64Array {
  const means = new Float64Array(count * hidden);
  const total = 4 + 3;
  for (const { x, batch } of batches) {
    const { scores } = block.run({ router: x, experts: x }).router;
    for (let e = 0; e < count; e++) {
      const outputs = backend.expertDown(backend.expertActivation(x, block.experts, e), block.experts, e);
      for (let t = 0; t < batch.length; t++) {
        if (statistics !== "batch-means" && batch.mask?.[t] === 0) continue;
        const share = statistics !== "batch-means" ? 1 / total : 1 / (batch.length * batches.length);
        const factor = gatedOutputs ? scores[t * count + e]! : 1;
        for (let i = 0; i < hidden; i++) means[e * hidden + i]! += share * factor * outputs[t * hidden + i]!;
      }
    }
  }
  return means;
}

test.each([
  ["exact", true],
  ["exact", false],
  ["batch-means", true],
  ["batch-means", false],
] as const)("mean outputs with biases: %s, multiplied by scores: %s", async (statistics, gatedOutputs) => {
  const settings = resolveSettings("ream", { statistics, gatedOutputs });
  const observer = new LayerObserver(backend, block, settings, batches.length, undefined);
  for (const [index, { x, batch }] of batches.entries())
    observer.add(index, x, block.run({ router: x, experts: x }), batch);
  const found = (await observer.finish(tensors)).meanOutputs!;
  const expected = meanOutputs(settings);
  expect(found.length).toBe(expected.length);
  for (const [i, value] of expected.entries()) expect(found[i]).toBeCloseTo(value, 5);
});

test.each([true, false])(
  "a sample of all tokens has the exact mean outputs, with biases; multiplied by scores: %s",
  async (gated) => {
    const settings = resolveSettings("ream", { gatedOutputs: gated });
    const sample = new MeanSample(backend, block, { gated, perSequence: 6, seed: 0, routedKnown: true });
    const observer = new LayerObserver(backend, block, settings, batches.length, undefined, sample);
    for (const [index, { x, batch }] of batches.entries()) {
      const result = block.run({ router: x, experts: x }, (router) => sample.routedSums(router, batch.mask));
      observer.add(index, x, result, batch);
    }
    const expected = meanOutputs(settings);
    const found = (await observer.finish(tensors)).meanOutputs!;
    for (const [i, value] of found.entries()) expect(value).toBeCloseTo(expected[i]!, 5);
  },
);
