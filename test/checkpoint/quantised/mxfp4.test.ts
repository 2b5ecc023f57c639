import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { decode } from "../../../src/checkpoint/dtypes.js";
import { decodeMxfp4 } from "../../../src/checkpoint/quantised/mxfp4.js";
import type { Tensor } from "../../../src/checkpoint/tensor.js";
import { expectCode } from "../support.js";

const bytes = (values: ArrayLike<number>, shape: readonly number[]): Tensor => ({
  dtype: "U8",
  shape,
  data: Uint8Array.from(values),
});

/** The value of an E2M1 code by its definition: sign, two bits of exponent with bias 1, one of mantissa. */
function e2m1(code: number): number {
  const [exponent, mantissa] = [(code >> 1) & 3, code & 1];
  const magnitude = exponent === 0 ? mantissa / 2 : (1 + mantissa / 2) * 2 ** (exponent - 1);
  return code >= 8 ? -magnitude : magnitude;
}

/** A group that has each code twice, in order. */
const ALL_CODES = Array.from({ length: 16 }, (_, i) => ((2 * i) & 15) | ((((2 * i) & 15) + 1) << 4));

describe("decodeMxfp4", () => {
  it.each([0, 1, 100, 127, 128, 252])(
    "decodes all 16 codes, the low half of a byte first, with the scale 2^(%d - 127)",
    (scale) => {
      const result = decodeMxfp4(bytes(ALL_CODES, [1, 1, 16]), bytes([scale], [1, 1]), "w");
      expect([result.dtype, result.shape]).toEqual(["BF16", [1, 32]]);
      const expected = Array.from({ length: 32 }, (_, i) => e2m1(i & 15) * 2 ** (scale - 127));
      expect([...decode(result)]).toEqual(expected);
    },
  );

  it("takes the scale of each group, in tensors of any rank", () => {
    const groups = fc.record({
      shape: fc.array(fc.integer({ min: 1, max: 4 }), { minLength: 1, maxLength: 3 }),
      seed: fc.array(fc.nat({ max: 255 }), { minLength: 64, maxLength: 64 }),
    });
    fc.assert(
      fc.property(groups, ({ shape, seed }) => {
        const count = shape.reduce((a, b) => a * b);
        const scales = Array.from({ length: count }, (_, i) => 90 + (seed[i % 64]! % 80));
        const blocks = Array.from({ length: 16 * count }, (_, i) => (seed[i % 64]! + i) & 255);
        const result = decodeMxfp4(bytes(blocks, [...shape, 16]), bytes(scales, shape), "w");
        expect(result.shape).toEqual([...shape.slice(0, -1), 32 * shape.at(-1)!]);
        const expected = Array.from({ length: 32 * count }, (_, i) => {
          const byte = blocks[i >> 1]!;
          return e2m1(i % 2 === 0 ? byte & 15 : byte >> 4) * 2 ** (scales[i >> 5]! - 127);
        });
        expect([...decode(result)]).toEqual(expected);
      }),
    );
  });

  it.each([
    ["a NaN scale, even over zeros", 255, 0x00],
    ["a low half beyond bfloat16", 254, 0x07],
    ["a high half beyond bfloat16", 253, 0x70],
  ])("refuses %s", async (_, scale, code) => {
    const blocks = new Uint8Array(32);
    blocks[20] = code;
    await expectCode("QUANTISED_VALUE", () => decodeMxfp4(bytes(blocks, [1, 2, 16]), bytes([127, scale], [1, 2]), "w"));
  });

  it("refuses tensors that do not fit", () => {
    const blocks = bytes(new Uint8Array(32), [1, 2, 16]);
    expect(() => decodeMxfp4(blocks, bytes([1], [1, 1]), "w")).toThrow(RangeError);
    expect(() => decodeMxfp4(bytes(new Uint8Array(32), [1, 4, 8]), bytes([1, 1, 1, 1], [1, 4]), "w")).toThrow(
      RangeError,
    );
    expect(() => decodeMxfp4(blocks, { ...bytes([1, 1], [1, 2]), dtype: "I8" }, "w")).toThrow(RangeError);
  });
});
