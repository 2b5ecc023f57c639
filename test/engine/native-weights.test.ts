import { describe, expect, test } from "vitest";
import type { IntegerGrid } from "../../src/checkpoint/quantised/integer-grid.js";
import type { Backend, GramFactor, PruningPattern } from "../../src/engine/backend.js";
import { Random } from "../../src/random.js";
import { correlatedInputs, gramOf } from "../compress/weights/matrices.js";
import { cases, expectClose, expectSame, normals, withThreads } from "./native-cases.js";

const SHAPES = [
  [1, 1, 3],
  [5, 40, 100],
  [70, 65, 20],
  [130, 200, 90],
] as const;

/** A weight `[rows, columns]` and the Gram matrix of inputs that are correlated. */
function problem(rows: number, columns: number, tokens: number) {
  const random = new Random(rows + columns);
  const x = correlatedInputs(random, tokens, columns);
  return { weight: normals(random, rows * columns), x, order: random.permutation(columns) };
}

function factorOf(backend: Backend, x: Float32Array, columns: number, order?: Int32Array): GramFactor {
  const gram = gramOf(backend, x, columns);
  let mean = 0;
  for (let i = 0; i < columns; i++) mean += gram[i * columns + i]! / columns;
  return backend.factorGram(gram, new Float64Array(columns).fill(0.01 * mean), order)!;
}

/** Share of places where two arrays differ. */
function differing(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let count = 0;
  for (let i = 0; i < b.length; i++) if (a[i] !== b[i]) count++;
  return count / b.length;
}

function expectRelative(actual: ArrayLike<number>, expected: ArrayLike<number>, tolerance: number): void {
  for (let i = 0; i < expected.length; i++) {
    expect(Math.abs(actual[i]! / expected[i]! - 1)).toBeLessThanOrEqual(tolerance);
  }
}

// The operations are float32 in both precisions.
const float32 = cases.filter(({ precision }) => precision === "f32");

describe.each(float32)("$variant", ({ variant, precision, native, reference }) => {
  const others = () => withThreads(variant, precision, [1, 3]);

  test.each([...SHAPES, [3, 130, 2100] as const])(
    "Gram matrix and error: %i x %i, %i tokens",
    (rows, columns, tokens) => {
      const { weight, x } = problem(rows, columns, tokens);
      const grams = [native, reference, ...others()].map((backend) => {
        const sums = new Float64Array(columns * columns).fill(0.5);
        backend.addGram(sums, x, columns);
        const anew = sums.slice().fill(7);
        for (let i = 0; i < columns; i++) for (let j = 0; j < i; j++) anew[i * columns + j] = sums[i * columns + j]!;
        const twice = sums.slice();
        backend.addGram(anew, x, columns, true);
        backend.addGram(twice, x, columns, true);
        expect(anew).toEqual(twice);
        return sums;
      });
      expectClose(grams[0]!, grams[1]!, 1e-6);
      // Below the diagonal nothing is written.
      for (let i = 0; i < columns; i++)
        expect(grams[0]!.subarray(i * columns, i * columns + i).every((v) => v === 0.5)).toBe(true);
      for (const other of grams.slice(2)) expectSame(other, grams[0]!);
      const errors = [native, reference, ...others()].map((backend) => backend.outputError(weight, grams[1]!));
      expect(Math.abs(errors[0]! / errors[1]! - 1)).toBeLessThan(1e-12);
      for (const other of errors.slice(2)) expect(other).toBe(errors[0]);
    },
  );

  test("numbers that are not there, and infinite ones", () => {
    const sums = new Float64Array(4);
    native.addGram(sums, new Float32Array(0), 2);
    expect(sums).toEqual(new Float64Array(4));
    native.addGram(sums, Float32Array.of(1, Infinity), 2);
    expect(sums).toEqual(Float64Array.of(1, Infinity, 0, Infinity));
    expect(native.factorGram(sums, new Float64Array(2), undefined)).toBeUndefined();
    expect(native.factorGram(new Float64Array(4), new Float64Array(2), undefined)).toBeUndefined();
    expect(native.outputError(new Float32Array(0), sums)).toBe(0);
    expect(() => native.addGram(sums, new Float32Array(3), 2)).toThrow(RangeError);
    expect(() => native.factorGram(sums, new Float64Array(3), undefined)).toThrow(RangeError);
    expect(() => native.factorGram(sums, new Float64Array(2), Int32Array.of(0, 2))).toThrow(RangeError);
  });

  test.each(SHAPES)("GPTQ of %i x %i, %i tokens", (rows, columns, tokens) => {
    const { weight, x, order } = problem(rows, columns, tokens);
    const grids: IntegerGrid[] = [
      { bits: 4, group: 32, symmetric: true },
      { bits: 4, group: 128, symmetric: false },
      { bits: 4, group: 24, symmetric: false },
      { bits: 8, group: undefined, symmetric: true },
      { bits: 4, group: 200, symmetric: true },
    ];
    for (const [g, grid] of grids.entries()) {
      for (const [o, given] of [undefined, order].entries()) {
        const dtype = (["BF16", "F16", "F32"] as const)[(g + o) % 3]!;
        const run = (backend: Backend) => backend.gptq(weight, factorOf(backend, x, columns, given), grid, dtype);
        const [actual, expected] = [run(native), run(reference)];
        // A near tie that is decided otherwise changes what its row's later columns take up: few rows have one.
        expect(differing(actual.codes, expected.codes)).toBeLessThan(0.02);
        const groups = actual.scales.length / rows;
        for (let r = 0; r < rows; r++) {
          const row = (values: Int8Array) => values.subarray(r * columns, (r + 1) * columns);
          if (differing(row(actual.codes), row(expected.codes)) > 0) continue;
          const [scales, zeros] = [actual.scales, actual.zeros].map((v) => v.subarray(r * groups, (r + 1) * groups));
          // A scale beside a tie of its dtype's rounding may go either way.
          expectRelative(scales!, expected.scales.subarray(r * groups, (r + 1) * groups), 2 ** -8);
          expect(zeros).toEqual(expected.zeros.subarray(r * groups, (r + 1) * groups));
        }
        const all = reference.outputError(weight, gramOf(reference, x, columns));
        expect(Math.abs(actual.error - expected.error)).toBeLessThanOrEqual(0.01 * expected.error + 1e-7 * all);
        if (g !== 1) continue;
        for (const other of others().map(run)) {
          expectSame(other.codes, actual.codes);
          expectSame(other.scales, actual.scales);
          expectSame(other.zeros, actual.zeros);
          expect(other.error).toBe(actual.error);
        }
      }
    }
  });

  test.each(SHAPES)("SparseGPT of %i x %i, %i tokens", (rows, columns, tokens) => {
    const { weight, x } = problem(rows, columns, tokens);
    const patterns: PruningPattern[] = [128, 24].map((size) => {
      const widths = Array.from({ length: Math.ceil(columns / size) }, (_, b) => Math.min(size, columns - b * size));
      return { kind: "blocks", size, counts: Int32Array.from(widths, (width) => Math.floor((rows * width) / 2)) };
    });
    if (columns % 4 === 0) patterns.push({ kind: "n:m", zeros: 2, of: 4 }, { kind: "n:m", zeros: 1, of: 4 });
    for (const pattern of patterns) {
      const run = (backend: Backend) => {
        const pruned = weight.slice();
        const { error } = backend.sparsegpt(pruned, factorOf(backend, x, columns), pattern);
        return { pruned, error };
      };
      const [actual, expected] = [run(native), run(reference)];
      const masks = [actual, expected].map(({ pruned }) => pruned.map((value) => (value === 0 ? 1 : 0)));
      expect(differing(masks[0]!, masks[1]!)).toBeLessThan(0.01);
      expect(Math.abs(actual.error - expected.error)).toBeLessThanOrEqual(0.01 * expected.error + 1e-9);
      if (differing(masks[0]!, masks[1]!) === 0) expectClose(actual.pruned, expected.pruned, 1e-4);
      for (const other of others().map(run)) {
        expectSame(other.pruned, actual.pruned);
        expect(other.error).toBe(actual.error);
      }
    }
  });

  test.each([
    [3, 8, 24, 12],
    [300, 512, 300 * 512, 70_000],
    [300, 512, 512, 200],
    [300, 512, 4, 2],
    [7, 96, 32, 5],
  ])("the smallest of %i x %i in spans of %i: %i", (rows, columns, span, zeros) => {
    const random = new Random(span);
    for (const coarse of [1, 8, 1e6]) {
      const weight = normals(random, rows * columns).map((value) => Math.round(coarse * value) / coarse);
      const norms = Float32Array.from({ length: columns }, () => random.next());
      for (const given of [undefined, norms]) {
        const run = (backend: Backend) => {
          const pruned = weight.slice();
          backend.zeroSmallest(pruned, columns, span, zeros, given);
          return pruned;
        };
        const expected = run(reference);
        for (const backend of [native, ...others()]) expectSame(run(backend), expected);
      }
    }
  });

  test("a factor that was disposed, or is another backend's, is refused", () => {
    const { weight, x } = problem(5, 40, 100);
    const factor = factorOf(native, x, 40);
    factor.dispose();
    const grid: IntegerGrid = { bits: 4, group: 8, symmetric: true };
    expect(() => native.gptq(weight, factor, grid, "BF16")).toThrow(RangeError);
    expect(() => native.gptq(weight, factorOf(reference, x, 40), grid, "BF16")).toThrow(RangeError);
    expect(() => reference.gptq(weight, factorOf(native, x, 40), grid, "BF16")).toThrow(RangeError);
    expect(() => native.gptq(weight, factorOf(native, x, 40), grid, "I8")).toThrow(RangeError);
  });
});
