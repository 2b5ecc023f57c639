import { describe, expect, test } from "vitest";
import { droppedOf } from "../../../src/compress/choose/kept-sets.js";
import { MeasuredBlock } from "../../../src/compress/choose/measured-block.js";
import { pickRouter } from "../../../src/compress/merge.js";
import { createReferenceBackend } from "../../../src/engine/reference/reference-backend.js";
import { Random } from "../../../src/random.js";
import { MadeBlock, type MadeRouter } from "./made-block.js";

const backend = createReferenceBackend("f32");
const sizes = { count: 8, hidden: 12, width: 6 };
const kept = [0, 2, 3, 5, 6, 7];
const pause = async () => undefined;

const ROUTERS: Readonly<Record<string, { router: MadeRouter; biased?: boolean; scaled?: boolean; kept?: number[] }>> = {
  "softmax, normalised": { router: { scores: "softmax", topK: 3, normalise: true } },
  "softmax, not normalised": { router: { scores: "softmax", topK: 2, normalise: false } },
  "sigmoids with selection biases and a factor": {
    router: { scores: "sigmoid", topK: 3, normalise: true, scale: 2.5, epsilon: 1e-20 },
    biased: true,
  },
  "groups of experts": {
    router: {
      scores: "sigmoid",
      topK: 2,
      normalise: true,
      groups: { count: 2, kept: 1, score: "sum-of-two" },
    },
    biased: true,
    kept: [0, 1, 3, 5, 6, 7],
  },
  "scales of experts": { router: { scores: "softmax", topK: 3, normalise: true }, scaled: true },
  "weights that scale inputs": {
    router: { scores: "sigmoid", chooseBy: "logits", topK: 1, normalise: false, scalesInputs: true },
  },
};

describe.each(Object.entries(ROUTERS))("%s", (_, { router, biased, scaled, kept: own = kept }) => {
  const random = new Random(3);
  const made = new MadeBlock(backend, random, sizes, router, { biased: biased === true, scaled: scaled === true });
  const x = Float32Array.from({ length: 40 * sizes.hidden }, () => random.normal());
  const importance = Float32Array.from({ length: 40 }, () => 0.5 + random.next());

  test("what is lost is the difference of the reduced block's output", async () => {
    const measured = await MeasuredBlock.of(backend, made.block, made.tokens(x, importance), pause);
    const reduced = { ...pickRouter(made.tensors, own), experts: own.map((e) => made.tensors.experts[e]!) };
    const [before, after] = [made.run(made.block, x), made.run(made.of(reduced), x)];
    let [lost, of] = [0, 0];
    for (let i = 0; i < before.length; i++) {
      const weight = importance[Math.floor(i / sizes.hidden)]!;
      lost += (weight * (after[i]! - before[i]!)) ** 2;
      of += (weight * before[i]!) ** 2;
    }
    const found = measured.lost(droppedOf(own, sizes.count));
    expect(lost).toBeGreaterThan(0.01 * of);
    expect(found.lost / lost).toBeCloseTo(1, 4);
    expect(found.of / of).toBeCloseTo(1, 4);
    expect(measured.lost(new Uint8Array(sizes.count)).lost).toBe(0);
  });

  test("the Gram matrix of contributions says what a set takes from the outputs", async () => {
    const measured = await MeasuredBlock.of(backend, made.block, made.tokens(x, importance), pause);
    const gram = measured.contributionGram();
    // All together make the whole output.
    const all = gram.reduce((sum, value) => sum + value, 0);
    expect(all / measured.lost(new Uint8Array(sizes.count)).of).toBeCloseTo(1, 4);
    // One alone makes weight x E(x), whose norm the block tells.
    const { router: routed, norms } = made.block.run({ router: x, experts: x });
    const energy = new Float64Array(sizes.count);
    for (const [pair, e] of routed.routing.selected.entries()) {
      const weight = router.scalesInputs === true ? 1 : routed.routing.weights[pair]!;
      energy[e]! += (weight * norms[pair]! * importance[Math.floor(pair / router.topK)]!) ** 2;
    }
    for (let e = 0; e < sizes.count; e++) {
      expect(gram[e * (sizes.count + 1)]! - energy[e]!).toBeLessThan(1e-3 * (1 + energy[e]!));
      for (let f = 0; f < e; f++) expect(gram[e * sizes.count + f]).toBe(gram[f * sizes.count + e]);
    }
  });
});

test("sketches of long outputs lose about as much as the outputs", async () => {
  const random = new Random(4);
  const long = { count: 8, hidden: 160, width: 24 };
  const made = new MadeBlock(backend, random, long, { scores: "softmax", topK: 3, normalise: true });
  const x = Float32Array.from({ length: 200 * long.hidden }, () => random.normal());
  const measured = await MeasuredBlock.of(backend, made.block, made.tokens(x, new Float32Array(200).fill(1)), pause);
  const reduced = { ...pickRouter(made.tensors, kept), experts: kept.map((e) => made.tensors.experts[e]!) };
  const [before, after] = [made.run(made.block, x), made.run(made.of(reduced), x)];
  const lost = before.reduce((sum, value, i) => sum + (after[i]! - value) ** 2, 0);
  expect(Math.abs(measured.lost(droppedOf(kept, long.count)).lost / lost - 1)).toBeLessThan(0.1);
});
