import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { pruneMagnitude } from "../../../src/compress/weights/magnitude.js";
import type { Sparsity } from "../../../src/compress/weights/sparsity.js";
import { pruneWanda } from "../../../src/compress/weights/wanda.js";
import { Random } from "../../../src/random.js";
import { BACKENDS, normals, zerosIn } from "./matrices.js";

/** What a span becomes, by the definition: each weight is zeroed that fewer than `zeros` others come before. */
function expected(weight: Float32Array, scores: readonly number[], span: number, zeros: number): Float32Array {
  return weight.map((value, i) => {
    const start = i - (i % span);
    let before = 0;
    for (let k = start; k < start + span; k++) {
      if (scores[k]! < scores[i]! || (scores[k] === scores[i] && k < i)) before++;
    }
    return before < zeros ? 0 : value;
  });
}

const sparsities = fc.oneof(
  fc.integer({ min: 0, max: 64 }).map((part): Sparsity => ({ kind: "ratio", share: part / 64 })),
  fc.constantFrom<Sparsity>(
    { kind: "n:m", zeros: 2, of: 4 },
    { kind: "n:m", zeros: 4, of: 8 },
    { kind: "n:m", zeros: 1, of: 4 },
    { kind: "n:m", zeros: 3, of: 4 },
  ),
);
const matrices = fc.record({
  rows: fc.integer({ min: 1, max: 9 }),
  columns: fc.integer({ min: 1, max: 9 }).map((eights) => 8 * eights),
  /** Few different weights, so that many are equal. */
  coarse: fc.boolean(),
  seed: fc.nat(),
});

function weights(random: Random, length: number, coarse: boolean): Float32Array {
  return normals(random, length).map((value) => (coarse ? Math.round(2 * value) / 2 : value));
}

describe.each(BACKENDS)("%s", (_, backend) => {
  test("magnitude: the smallest of the matrix or of each run, exactly", () => {
    fc.assert(
      fc.property(matrices, sparsities, ({ rows, columns, coarse, seed }, sparsity) => {
        const weight = weights(new Random(seed), rows * columns, coarse);
        const span = sparsity.kind === "ratio" ? weight.length : sparsity.of;
        const zeros = sparsity.kind === "ratio" ? Math.floor(sparsity.share * weight.length) : sparsity.zeros;
        const pruned = weight.slice();
        pruneMagnitude(backend, pruned, [rows, columns], sparsity);
        expect(pruned).toEqual(expected(weight, [...weight.map(Math.abs)], span, zeros));
      }),
    );
  });

  test("Wanda: the smallest weight times norm of each row or run, exactly", () => {
    fc.assert(
      fc.property(matrices, sparsities, ({ rows, columns, coarse, seed }, sparsity) => {
        const random = new Random(seed);
        const weight = weights(random, rows * columns, coarse);
        const squares = Float64Array.from({ length: columns }, () => (coarse ? random.below(3) : random.next()));
        const span = sparsity.kind === "ratio" ? columns : sparsity.of;
        const zeros = sparsity.kind === "ratio" ? Math.floor(sparsity.share * columns) : sparsity.zeros;
        const norms = squares.some((value) => value > 0) ? squares.map(Math.sqrt) : squares.fill(1);
        const score = (value: number, i: number) => Math.fround(Math.abs(value) * Math.fround(norms[i % columns]!));
        const pruned = weight.slice();
        pruneWanda(backend, pruned, [rows, columns], squares, sparsity);
        expect(pruned).toEqual(expected(weight, Array.from(weight, score), span, zeros));
      }),
    );
  });

  test("large matrices have the exact count, and nothing that is kept is smaller than what is not", () => {
    const random = new Random(3);
    const [rows, columns] = [300, 512];
    for (const coarse of [false, true]) {
      const weight = weights(random, rows * columns, coarse);
      for (const share of [0, 0.1, 0.5, 0.97, 1]) {
        const pruned = weight.slice();
        pruneMagnitude(backend, pruned, [rows, columns], { kind: "ratio", share });
        const zeroed = weight.filter((_, i) => pruned[i] === 0).map(Math.abs);
        const kept = pruned.filter((value) => value !== 0).map(Math.abs);
        const largest = zeroed.reduce((a, b) => Math.max(a, b), 0);
        expect(kept.every((value) => value >= largest)).toBe(true);
        // Coarse weights are zero already, often.
        expect(zerosIn(pruned)).toBe(Math.max(zerosIn(weight), Math.floor(share * weight.length)));
      }
    }
  });

  test("a Wanda score is of weight and input: small weights of large inputs are kept", () => {
    const weight = Float32Array.of(1, 2, 3, 4, -4, -3, -2, -1);
    pruneWanda(backend, weight, [2, 4], Float64Array.of(100, 1, 1, 1), { kind: "ratio", share: 0.5 });
    expect(weight).toEqual(Float32Array.of(1, 0, 0, 4, -4, -3, 0, 0));
  });

  test("an expert without tokens is pruned by magnitude", () => {
    const weight = Float32Array.of(4, 1, 3, 2);
    pruneWanda(backend, weight, [1, 4], new Float64Array(4), { kind: "n:m", zeros: 2, of: 4 });
    expect(weight).toEqual(Float32Array.of(4, 0, 3, 0));
  });

  test("what does not fit is refused", () => {
    const weight = new Float32Array(12);
    const half: Sparsity = { kind: "ratio", share: 0.5 };
    expect(() => pruneWanda(backend, weight, [3, 4], new Float64Array(5), half)).toThrow(RangeError);
    expect(() => pruneWanda(backend, weight, [3, 4], new Float64Array(4).fill(Number.NaN), half)).toThrow(
      expect.objectContaining({ code: "NOT_FINITE" }),
    );
    expect(() => backend.zeroSmallest(weight, 4, 3, 1)).toThrow(RangeError);
    expect(() => backend.zeroSmallest(weight, 5, 5, 1)).toThrow(RangeError);
    expect(() => backend.zeroSmallest(weight, 4, 4, 5)).toThrow(RangeError);
    expect(() => backend.zeroSmallest(weight, 4, 4, 1, new Float32Array(3))).toThrow(RangeError);
  });
});
