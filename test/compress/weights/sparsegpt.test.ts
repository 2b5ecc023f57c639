import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { factorGram } from "../../../src/compress/weights/gram-factor.js";
import { outputError } from "../../../src/compress/weights/layer-error.js";
import { pruneMagnitude } from "../../../src/compress/weights/magnitude.js";
import { pruneSparsegpt } from "../../../src/compress/weights/sparsegpt.js";
import type { Sparsity } from "../../../src/compress/weights/sparsity.js";
import { pruneWanda } from "../../../src/compress/weights/wanda.js";
import { Random } from "../../../src/random.js";
import { BACKENDS, correlatedInputs, gramOf, minus, normals, squaredOutputs, zerosIn } from "./matrices.js";

const half: Sparsity = { kind: "ratio", share: 0.5 };
const twoOfFour: Sparsity = { kind: "n:m", zeros: 2, of: 4 };

describe.each(BACKENDS)("%s", (_, backend) => {
  test("counts are exact after each block, over all rows", () => {
    const shapes = fc.record({
      rows: fc.integer({ min: 1, max: 70 }),
      columns: fc.integer({ min: 1, max: 40 }),
      blockSize: fc.integer({ min: 1, max: 50 }),
      percent: fc.integer({ min: 0, max: 100 }),
      seed: fc.nat(),
    });
    fc.assert(
      fc.property(shapes, ({ rows, columns, blockSize, percent, seed }) => {
        const random = new Random(seed);
        const weight = normals(random, rows * columns);
        const factor = factorGram(backend, gramOf(backend, correlatedInputs(random, 50, columns), columns), columns);
        const sparsity: Sparsity = { kind: "ratio", share: percent / 100 };
        pruneSparsegpt(backend, weight, [rows, columns], factor, sparsity, { blockSize });
        for (let end = blockSize; end - blockSize < columns; end += blockSize) {
          const upTo = weight.filter((_, i) => i % columns < end);
          expect(zerosIn(upTo)).toBe(Math.floor((percent * upTo.length) / 100));
        }
      }),
      { numRuns: 50 },
    );
  });

  test("every run of an n:m pattern has its zeros", () => {
    const random = new Random(5);
    const [rows, columns] = [70, 264];
    const weight = normals(random, rows * columns);
    const factor = factorGram(backend, gramOf(backend, correlatedInputs(random, 300, columns), columns), columns);
    for (const [zeros, of] of [
      [2, 4],
      [4, 8],
      [1, 4],
      [5, 12],
    ] as const) {
      const pruned = weight.slice();
      pruneSparsegpt(backend, pruned, [rows, columns], factor, { kind: "n:m", zeros, of });
      for (let start = 0; start < pruned.length; start += of)
        expect(zerosIn(pruned.subarray(start, start + of))).toBe(zeros);
    }
  });

  test("the outputs change less than with Wanda and magnitude, and by what is told", () => {
    const random = new Random(6);
    const [rows, columns] = [40, 200];
    const weight = normals(random, rows * columns);
    const x = correlatedInputs(random, 600, columns);
    const gram = gramOf(backend, x, columns);
    const squares = new Float64Array(columns);
    backend.addColumnSquares(squares, x);
    const factor = factorGram(backend, gram, columns);
    for (const sparsity of [half, twoOfFour]) {
      const [byMagnitude, byWanda, bySparsegpt] = [weight.slice(), weight.slice(), weight.slice()];
      pruneMagnitude(backend, byMagnitude, [rows, columns], sparsity);
      pruneWanda(backend, byWanda, [rows, columns], squares, sparsity);
      const { error } = pruneSparsegpt(backend, bySparsegpt, [rows, columns], factor, sparsity);
      const errors = [byMagnitude, byWanda, bySparsegpt].map((pruned) =>
        outputError(backend, minus(weight, pruned), gram),
      );
      expect(errors[1]).toBeLessThan(errors[0]!);
      expect(errors[2]).toBeLessThan(0.8 * errors[1]!);
      const direct = squaredOutputs(minus(weight, bySparsegpt), x, columns);
      expect(Math.abs(errors[2]! / direct - 1)).toBeLessThan(1e-5);
      expect(Math.abs(error / direct - 1)).toBeLessThan(1e-4);
    }
  });

  test("independent inputs: n:m is Wanda's, and no other weight changes", () => {
    const random = new Random(7);
    const [rows, columns] = [33, 64];
    const weight = normals(random, rows * columns);
    const squares = Float64Array.from({ length: columns }, () => 0.1 + random.next());
    const gram = new Float64Array(columns * columns);
    for (const [i, value] of squares.entries()) gram[i * columns + i] = value;
    const [byWanda, bySparsegpt] = [weight.slice(), weight.slice()];
    pruneWanda(backend, byWanda, [rows, columns], squares, twoOfFour);
    const factor = factorGram(backend, gram, columns, { damping: 0 });
    pruneSparsegpt(backend, bySparsegpt, [rows, columns], factor, twoOfFour);
    expect(bySparsegpt).toEqual(byWanda);
  });

  test("weights of inputs that are always 0 go first; without any tokens magnitude decides", () => {
    const random = new Random(8);
    const [rows, columns] = [20, 16];
    const weight = normals(random, rows * columns);
    const x = correlatedInputs(random, 100, columns).map((value, i) => (i % 4 < 2 ? value : 0));
    for (const damping of [0, 0.01]) {
      const factor = factorGram(backend, gramOf(backend, x, columns), columns, { damping });
      for (const sparsity of [half, twoOfFour]) {
        const pruned = weight.slice();
        const { error } = pruneSparsegpt(backend, pruned, [rows, columns], factor, sparsity);
        expect(pruned).toEqual(weight.map((value, i) => (i % 4 < 2 ? value : 0)));
        expect(Math.abs(error)).toBeLessThan(1e-6);
      }
    }
    const [unseen, byMagnitude] = [weight.slice(), weight.slice()];
    const none = factorGram(backend, new Float64Array(columns * columns), columns);
    pruneSparsegpt(backend, unseen, [rows, columns], none, twoOfFour);
    pruneMagnitude(backend, byMagnitude, [rows, columns], twoOfFour);
    expect(unseen).toEqual(byMagnitude);
  });

  test("numbers that are not finite, and too little damping, are told", () => {
    const weight = normals(new Random(9), 8);
    const gram = Float64Array.of(1, 1, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1);
    expect(() => factorGram(backend, gram, 4, { damping: 0 })).toThrow(
      expect.objectContaining({ code: "GRAM_SINGULAR" }),
    );
    expect(() => factorGram(backend, gram.with(0, Number.NaN), 4)).toThrow(
      expect.objectContaining({ code: "NOT_FINITE" }),
    );
    const factor = factorGram(backend, gram, 4);
    expect(() => pruneSparsegpt(backend, weight.with(3, Infinity), [2, 4], factor, half)).toThrow(
      expect.objectContaining({ code: "NOT_FINITE" }),
    );
    expect(() => pruneSparsegpt(backend, weight, [4, 2], factor, half)).toThrow(RangeError);
    const ordered = factorGram(backend, gram, 4, { activationOrder: true });
    expect(() => pruneSparsegpt(backend, weight, [2, 4], ordered, half)).toThrow(RangeError);
  });
});
