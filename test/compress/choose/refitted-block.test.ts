import { describe, expect, test } from "vitest";
import { droppedOf } from "../../../src/compress/choose/kept-sets.js";
import { MeasuredBlock } from "../../../src/compress/choose/measured-block.js";
import { RefittedBlock } from "../../../src/compress/choose/refitted-block.js";
import { createReferenceBackend } from "../../../src/engine/reference/reference-backend.js";
import { Random } from "../../../src/random.js";
import { MadeBlock } from "./made-block.js";

const backend = createReferenceBackend("f32");
const pause = async () => undefined;
const random = new Random(5);

/** Outputs of six numbers: all of them are directions, and none is a sketch. */
const sizes = { count: 5, hidden: 6, width: 4 };
const made = new MadeBlock(backend, random, sizes, { scores: "softmax", topK: 2, normalise: true });

async function measured(tokens: number, block = made) {
  const x = Float32Array.from({ length: tokens * sizes.hidden }, () => random.normal());
  const importance = Float32Array.from({ length: tokens }, () => 0.5 + random.next());
  return { x, importance, block: await MeasuredBlock.of(backend, block.block, block.tokens(x, importance), pause) };
}

/** Solves A x = b by elimination. */
function solve(matrix: number[][], b: number[]): number[] {
  const rows = matrix.map((row, i) => [...row, b[i]!]);
  for (let i = 0; i < rows.length; i++) {
    for (let r = i + 1; r < rows.length; r++) {
      const factor = rows[r]![i]! / rows[i]![i]!;
      for (let c = i; c <= rows.length; c++) rows[r]![c]! -= factor * rows[i]![c]!;
    }
  }
  const x = new Array<number>(rows.length).fill(0);
  for (let i = rows.length - 1; i >= 0; i--) {
    let sum = rows[i]!.at(-1)!;
    for (let c = i + 1; c < rows.length; c++) sum -= rows[i]![c]! * x[c]!;
    x[i] = sum / rows[i]![i]!;
  }
  return x;
}

describe("what is lost after a refit", () => {
  test("is that of the ridge regression of what is left on the experts' outputs, token by token", async () => {
    const [fit, judge] = [await measured(60), await measured(30)];
    const dropped = droppedOf([0, 2, 4], sizes.count);
    // From the experts' weights, without what the measured block keeps.
    const sides = [fit, judge].map(({ x, importance }) => {
      const tokens = importance.length;
      const { logits, routing } = made.block.run({ router: x, experts: x }).router;
      const outputs = Array.from({ length: sizes.count }, (_, e) =>
        backend.expertDown(backend.expertActivation(x, made.block.experts, e), made.block.experts, e),
      );
      const left: number[][] = [];
      const inputs: number[][] = [];
      for (let t = 0; t < tokens; t++) {
        const part = (e: number, weight: number) =>
          Array.from({ length: 6 }, (_, i) => importance[t]! * weight * outputs[e]![t * 6 + i]!);
        const wanted = new Array<number>(6).fill(0);
        for (let i = 0; i < 2; i++)
          for (const [j, value] of part(routing.selected[t * 2 + i]!, routing.weights[t * 2 + i]!).entries())
            wanted[j]! += value;
        const best = [0, 2, 4].sort((a, b) => logits[t * 5 + b]! - logits[t * 5 + a]!).slice(0, 2);
        const [one, two] = best.map((e) => Math.exp(logits[t * 5 + e]!)) as [number, number];
        const weights = new Map([
          [best[0]!, one / (one + two)],
          [best[1]!, two / (one + two)],
        ]);
        const own = [0, 2, 4].map((e) => part(e, weights.get(e) ?? 0));
        inputs.push(own.flat());
        left.push(wanted.map((value, j) => value - own.reduce((sum, made) => sum + made[j]!, 0)));
      }
      return { inputs, left };
    });
    const [seen, other] = sides as [(typeof sides)[0], (typeof sides)[0]];
    const gram = Array.from({ length: 18 }, (_, i) =>
      Array.from({ length: 18 }, (_, j) => seen.inputs.reduce((sum, p) => sum + p[i]! * p[j]!, 0)),
    );
    const mean = gram.reduce((sum, row, i) => sum + row[i]!, 0) / 18;
    for (const [i, row] of gram.entries()) row[i]! += 0.01 * mean;
    let lost = 0;
    for (let j = 0; j < 6; j++) {
      const products = Array.from({ length: 18 }, (_, i) =>
        seen.inputs.reduce((sum, p, t) => sum + p[i]! * seen.left[t]![j]!, 0),
      );
      const map = solve(gram, products);
      for (const [t, p] of other.inputs.entries())
        lost += (other.left[t]![j]! - p.reduce((sum, value, i) => sum + value * map[i]!, 0)) ** 2;
    }
    const found = new RefittedBlock(backend, fit.block, judge.block).lost(dropped);
    expect(found.lost / lost).toBeCloseTo(1, 4);
    expect(found.of).toBe(judge.block.lost(dropped).of);
  });

  test("is less than without one on the tokens that are fitted to, and nothing where nothing is dropped", async () => {
    const { block } = await measured(100);
    const refitted = new RefittedBlock(backend, block, block);
    for (const kept of [
      [0, 1, 2, 3],
      [1, 2, 4],
      [0, 3],
    ]) {
      const dropped = droppedOf(kept, sizes.count);
      expect(refitted.lost(dropped).lost).toBeLessThan(block.lost(dropped).lost);
    }
    expect(refitted.lost(new Uint8Array(sizes.count)).lost).toBeCloseTo(0, 8);
  });
});

test("halves are every other token", async () => {
  const { block } = await measured(9);
  const halves = block.halves();
  const dropped = droppedOf([0, 1, 2], sizes.count);
  const lost = halves.reduce((sum, half) => sum + half.lost(dropped).lost, 0);
  expect(halves.map((half) => half.left(dropped, 1).residuals.length)).toEqual([5 * 6, 4 * 6]);
  expect(lost).toBeCloseTo(block.lost(dropped).lost, 4);
});
