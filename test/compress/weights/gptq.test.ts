import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { codeOf, gridOfRange, type IntegerGrid } from "../../../src/checkpoint/quantised/integer-grid.js";
import { type GptqResult, gptq } from "../../../src/compress/weights/gptq.js";
import { factorGram } from "../../../src/compress/weights/gram-factor.js";
import { outputError } from "../../../src/compress/weights/layer-error.js";
import { Random } from "../../../src/random.js";
import { BACKENDS, correlatedInputs, gramOf, minus, normals, squaredOutputs } from "./matrices.js";

const int4: IntegerGrid = { bits: 4, group: 32, symmetric: true };

function values({ rows, columns, codes, scales, zeros }: Omit<GptqResult, "error">, group = columns): Float32Array {
  const groups = Math.ceil(columns / group);
  return Float32Array.from({ length: rows * columns }, (_, i) => {
    const g = Math.floor(i / columns) * groups + Math.floor((i % columns) / group);
    return scales[g]! * (codes[i]! - (zeros?.[g] ?? 0));
  });
}

/** Round to nearest with the scales of the weights as they are. */
function roundToNearest(weight: Float32Array, columns: number, grid: IntegerGrid) {
  const size = grid.group ?? columns;
  const rounded = new Float32Array(weight.length);
  const codes = new Int8Array(weight.length);
  for (let row = 0; row < weight.length; row += columns) {
    for (let start = 0; start < columns; start += size) {
      const part = weight.subarray(row + start, row + Math.min(columns, start + size));
      const { scale, zero } = gridOfRange(Math.min(...part), Math.max(...part), grid, "BF16");
      for (const [k, value] of part.entries()) {
        codes[row + start + k] = codeOf(value, scale, zero, grid.bits);
        rounded[row + start + k] = scale * (codes[row + start + k]! - zero);
      }
    }
  }
  return { rounded, codes };
}

const grids = fc.record({
  bits: fc.constantFrom(4 as const, 8 as const),
  group: fc.constantFrom(undefined, 8, 24, 32, 128, 200),
  symmetric: fc.boolean(),
});

describe.each(BACKENDS)("%s", (_, backend) => {
  test("the outputs change less than with rounding to nearest, and by what is told", () => {
    const cases = fc.record({
      grid: grids,
      activationOrder: fc.boolean(),
      rows: fc.integer({ min: 8, max: 80 }),
      columns: fc.integer({ min: 16, max: 150 }),
      seed: fc.nat(),
    });
    fc.assert(
      fc.property(cases, ({ grid, activationOrder, rows, columns, seed }) => {
        const random = new Random(seed);
        const weight = normals(random, rows * columns);
        const given = weight.slice();
        const x = correlatedInputs(random, 2 * columns, columns);
        const gram = gramOf(backend, x, columns);
        const factor = factorGram(backend, gram, columns, { activationOrder });
        const result = gptq(backend, weight, [rows, columns], factor, { grid, scaleDtype: "BF16" });
        expect(weight).toEqual(given);
        expect(result.zeros === undefined).toBe(grid.symmetric);
        const difference = minus(weight, values(result, grid.group));
        const error = outputError(backend, difference, gram);
        const { rounded } = roundToNearest(weight, columns, grid);
        expect(error).toBeLessThan(outputError(backend, minus(weight, rounded), gram));
        const direct = squaredOutputs(difference, x, columns);
        expect(Math.abs(error / direct - 1)).toBeLessThan(1e-5);
        expect(Math.abs(result.error / direct - 1)).toBeLessThan(1e-3);
      }),
      { numRuns: backend.name === "reference" ? 10 : 60 },
    );
  });

  test("independent inputs are rounded to nearest, in any order", () => {
    const random = new Random(10);
    const [rows, columns] = [70, 160];
    const weight = normals(random, rows * columns);
    const gram = new Float64Array(columns * columns);
    for (let i = 0; i < columns; i++) gram[i * columns + i] = 0.1 + random.next();
    for (const grid of [int4, { ...int4, symmetric: false }, { bits: 8, group: undefined, symmetric: true } as const]) {
      for (const activationOrder of [false, true]) {
        const factor = factorGram(backend, gram, columns, { activationOrder });
        const { codes } = gptq(backend, weight, [rows, columns], factor, { grid, scaleDtype: "BF16" });
        expect(codes).toEqual(roundToNearest(weight, columns, grid).codes);
      }
    }
  });

  test("a group's scale is that of its weights after the updates", () => {
    // The second input is the first: what rounding takes from the first weight, the second gets.
    const [columns, weight] = [2, Float32Array.of(1.4, 7)];
    const gram = Float64Array.of(1, 1, 0, 1);
    const factor = factorGram(backend, gram, columns, { damping: 1e-4 });
    const grid: IntegerGrid = { bits: 4, group: 1, symmetric: true };
    const { scales, codes } = gptq(backend, weight, [1, columns], factor, { grid, scaleDtype: "F32" });
    const first = Math.fround(1.4 / 7.5);
    const rest = 7 + (1.4 - codes[0]! * first);
    expect(codes[0]).toBe(7);
    expect(scales[1]! / (rest / 7.5)).toBeCloseTo(1, 4);
    // In activation order scales are those of the weights as given.
    const ordered = factorGram(backend, gram, columns, { damping: 1e-4, activationOrder: true });
    const statically = gptq(backend, weight, [1, columns], ordered, { grid, scaleDtype: "F32" });
    expect(statically.scales).toEqual(Float32Array.of(1.4 / 7.5, 7 / 7.5));
  });

  test("inputs that are always 0, and experts without tokens, are rounded to nearest", () => {
    const random = new Random(11);
    const [rows, columns] = [10, 64];
    const weight = normals(random, rows * columns);
    const { codes: nearest } = roundToNearest(weight, columns, int4);
    const x = correlatedInputs(random, 100, columns).map((value, i) => (i % columns < 32 ? value : 0));
    for (const damping of [0, 0.01]) {
      const factor = factorGram(backend, gramOf(backend, x, columns), columns, { damping });
      const { codes } = gptq(backend, weight, [rows, columns], factor, { grid: int4, scaleDtype: "BF16" });
      expect(codes.filter((_, i) => i % columns >= 32)).toEqual(nearest.filter((_, i) => i % columns >= 32));
    }
    const none = factorGram(backend, new Float64Array(columns * columns), columns);
    expect(gptq(backend, weight, [rows, columns], none, { grid: int4, scaleDtype: "BF16" }).codes).toEqual(nearest);
  });

  test("what does not fit is refused", () => {
    const factor = factorGram(backend, new Float64Array(16), 4);
    const options = { grid: int4, scaleDtype: "BF16" } as const;
    const weight = new Float32Array(8);
    expect(() => gptq(backend, weight, [4, 2], factor, options)).toThrow(RangeError);
    expect(() => gptq(backend, weight, [2, 5], factor, options)).toThrow(RangeError);
    expect(() => gptq(backend, weight.fill(Number.NaN), [2, 4], factor, options)).toThrow(
      expect.objectContaining({ code: "NOT_FINITE" }),
    );
    const flawed = { grid: { ...int4, group: 0 }, scaleDtype: "BF16" } as const;
    expect(() => gptq(backend, new Float32Array(8), [2, 4], factor, flawed)).toThrow(RangeError);
  });
});
