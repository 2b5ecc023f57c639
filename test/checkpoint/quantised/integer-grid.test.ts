import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  codeOf,
  gridOfRange,
  type IntegerGrid,
  roundTo,
  SCALE_DTYPES,
} from "../../../src/checkpoint/quantised/integer-grid.js";

const grid = (bits: 4 | 8, symmetric: boolean): IntegerGrid => ({ bits, group: undefined, symmetric });
const value = fc.float({ min: -100, max: 100, noNaN: true });
const anyGrid = fc.record({
  bits: fc.constantFrom(4 as const, 8 as const),
  group: fc.constant(undefined),
  symmetric: fc.boolean(),
});

describe("gridOfRange", () => {
  it.each([
    [-3, 7.5, grid(4, true), { scale: 1, zero: 0 }],
    [-15, 3, grid(4, true), { scale: 2, zero: 0 }],
    [-127.5, 1, grid(8, true), { scale: 1, zero: 0 }],
    [-5, 10, grid(4, false), { scale: 1, zero: -3 }],
    [-254, 256, grid(8, false), { scale: 2, zero: -1 }],
    // Halves go to the even code: -8 - -2.5 and -8 - -3.5.
    [-2.5, 12.5, grid(4, false), { scale: 1, zero: -6 }],
    [-3.5, 11.5, grid(4, false), { scale: 1, zero: -4 }],
  ])("of %d to %d, %j", (minimum, maximum, of, expected) => {
    for (const dtype of SCALE_DTYPES) expect(gridOfRange(minimum, maximum, of, dtype)).toEqual(expected);
  });

  it("holds 0 also where all values have one sign", () => {
    expect(gridOfRange(15, 30, grid(4, false), "BF16")).toEqual({ scale: 2, zero: -8 });
    expect(gridOfRange(-30, -15, grid(4, false), "BF16")).toEqual({ scale: 2, zero: 7 });
  });

  it("rounds the scale to its dtype", () => {
    expect(gridOfRange(0, 1, grid(4, true), "BF16").scale).toBe(0.1337890625);
    expect(gridOfRange(0, 1, grid(4, true), "F16").scale).toBe(0.13330078125);
    expect(gridOfRange(0, 1, grid(4, true), "F32").scale).toBe(Math.fround(1 / 7.5));
  });

  it.each([
    ["BF16", 2 ** -7],
    ["F16", 2 ** -10],
    ["F32", 2 ** -23],
  ] as const)("of nothing but zeros has the epsilon of %s", (dtype, scale) => {
    for (const symmetric of [true, false])
      expect(gridOfRange(0, 0, grid(4, symmetric), dtype)).toEqual({ scale, zero: 0 });
  });

  it("refuses dtypes that scales are not stored in", () => {
    expect(() => gridOfRange(0, 1, grid(4, true), "F8_E4M3")).toThrow(RangeError);
  });
});

describe("codeOf", () => {
  it.each([
    [0.5, 0],
    [1.5, 2],
    [2.5, 2],
    [-0.5, 0],
    [-1.5, -2],
    [-2.5, -2],
    [7.4, 7],
    [99, 7],
    [-99, -8],
  ])("%d is %d", (from, code) => {
    expect(codeOf(from, 1, 0, 4)).toBe(code);
    expect(codeOf(3 * from, 3, 0, 4)).toBe(code);
  });

  it("is the nearest code, for every value of the range", () => {
    const cases = fc.record({ low: value, high: value, part: fc.nat({ max: 1000 }), of: anyGrid });
    fc.assert(
      fc.property(cases, fc.constantFrom(...SCALE_DTYPES), ({ low, high, part, of }, dtype) => {
        const [minimum, maximum] = [Math.min(low, high), Math.max(low, high)].map((end) => roundTo(dtype, end));
        const { scale, zero } = gridOfRange(minimum!, maximum!, of, dtype);
        const x = Math.fround(minimum! + ((maximum! - minimum!) * part) / 1000);
        const code = codeOf(x, scale, zero, of.bits);
        const limit = 2 ** (of.bits - 1);
        expect(code).toBeGreaterThanOrEqual(-limit);
        expect(code).toBeLessThan(limit);
        for (let other = -limit; other < limit; other++) {
          const [chosen, rejected] = [code, other].map((c) => Math.abs(scale * (c - zero) - x));
          expect(chosen).toBeLessThanOrEqual(rejected! + scale * 1e-4);
        }
      }),
    );
  });

  it("0 has a code of its own, whatever the range", () => {
    fc.assert(
      fc.property(value, value, anyGrid, (low, high, of) => {
        const { scale, zero } = gridOfRange(Math.min(low, high), Math.max(low, high), of, "BF16");
        expect(codeOf(0, scale, zero, of.bits)).toBe(zero);
      }),
    );
  });
});
