import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { decode, encode } from "../../../src/checkpoint/dtypes.js";
import { decodeFp8Blocks } from "../../../src/checkpoint/quantised/fp8-blocks.js";
import type { DType, Tensor } from "../../../src/checkpoint/tensor.js";
import { Random } from "../../../src/random.js";
import { expectCode } from "../support.js";

/** The value of an E4M3 code by its definition (OCP 8-bit floating point): bias 7, no infinity, NaN is all ones. */
function e4m3(code: number): number {
  const [exponent, mantissa] = [(code >> 3) & 15, code & 7];
  if (exponent === 15 && mantissa === 7) return Number.NaN;
  const magnitude = exponent === 0 ? (mantissa / 8) * 2 ** -6 : (1 + mantissa / 8) * 2 ** (exponent - 7);
  return code >= 128 ? -magnitude : magnitude;
}

const isNaNCode = (code: number) => (code & 127) === 127;
const floats = (values: readonly number[], shape: readonly number[], dtype: DType = "F32"): Tensor => ({
  dtype,
  shape,
  data: encode(dtype, Float32Array.from(values)),
});
const codes = (values: readonly number[], shape: readonly number[]): Tensor => ({
  dtype: "F8_E4M3",
  shape,
  data: Uint8Array.from(values),
});

describe("decodeFp8Blocks", () => {
  it("decodes every code, times its scale", () => {
    const all = Array.from({ length: 256 }, (_, code) => code).filter((code) => !isNaNCode(code));
    const result = decodeFp8Blocks(codes(all, [1, 254]), floats([0.75, -3], [1, 2]), [128, 128], "w");
    expect([result.dtype, result.shape]).toEqual(["F32", [1, 254]]);
    expect([...decode(result)]).toEqual(all.map((code, i) => e4m3(code) * (i < 128 ? 0.75 : -3)));
  });

  it("takes the scale of each block, the last ones partial, with any rows of the matrix", () => {
    const cases = fc.record({
      seed: fc.nat(),
      rows: fc.integer({ min: 1, max: 40 }),
      columns: fc.integer({ min: 1, max: 40 }),
      block: fc.tuple(fc.integer({ min: 1, max: 16 }), fc.integer({ min: 1, max: 16 })),
      begin: fc.nat({ max: 39 }),
      scaleType: fc.constantFrom<DType>("F32", "BF16"),
    });
    fc.assert(
      fc.property(cases, ({ seed, rows, columns, block, begin, scaleType }) => {
        const random = new Random(seed);
        const stored = Array.from({ length: rows * columns }, () => random.below(127) | (random.below(2) << 7));
        const grid = [Math.ceil(rows / block[0]), Math.ceil(columns / block[1])] as const;
        const scales = floats(
          Array.from({ length: grid[0] * grid[1] }, () => random.normal()),
          grid,
          scaleType,
        );
        const factors = decode(scales);
        const first = begin % rows;
        const weight = codes(stored.slice(first * columns), [rows - first, columns]);
        const values = decode(decodeFp8Blocks(weight, scales, block, "w", first));
        const expected = stored.slice(first * columns).map((code, i) => {
          const [row, column] = [first + Math.floor(i / columns), i % columns];
          const factor = factors[Math.floor(row / block[0]) * grid[1] + Math.floor(column / block[1])]!;
          return Math.fround(e4m3(code) * factor);
        });
        expect([...values]).toEqual(expected);
      }),
    );
  });

  it.each([
    ["a NaN code", [0x38, 0x7f], [1, 2]],
    ["a negative NaN code", [0xff, 0x38], [1, 2]],
    ["a NaN scale", [0x38, 0x38], [Number.NaN, 2]],
    ["an infinite scale over zeros", [0, 0], [1, Number.POSITIVE_INFINITY]],
    ["a product beyond float32", [0x7e, 0], [3e38, 1]],
  ])("refuses %s", async (_, weight, scales) => {
    const error = await expectCode("QUANTISED_VALUE", () =>
      decodeFp8Blocks(codes(weight, [2, 1]), floats(scales, [2, 1]), [1, 1], "w"),
    );
    expect(error.message).toContain('"w", row ');
  });

  it("refuses tensors that do not fit", () => {
    const weight = codes([1, 2, 3, 4], [2, 2]);
    expect(() => decodeFp8Blocks(weight, floats([1], [1, 1]), [1, 2], "w")).toThrow(RangeError);
    expect(() => decodeFp8Blocks(weight, floats([1], [1, 1]), [2, 1], "w")).toThrow(RangeError);
    expect(() => decodeFp8Blocks(weight, floats([1], [1]), [2, 2], "w")).toThrow(RangeError);
    expect(() => decodeFp8Blocks({ ...weight, dtype: "F8_E5M2" }, floats([1], [1, 1]), [2, 2], "w")).toThrow(
      RangeError,
    );
  });
});
