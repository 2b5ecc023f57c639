import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { bytesPerElement } from "../../src/checkpoint/dtypes.js";
import type { DType, Tensor } from "../../src/checkpoint/tensor.js";
import { joinRows, splitRows, transpose } from "../../src/checkpoint/tensor-layout.js";
import { Random } from "../../src/random.js";

const DTYPES: readonly DType[] = ["U8", "BF16", "F32", "F64"];

/** Random bytes, NaNs among them, at an odd offset if asked. */
function randomTensor(seed: number, dtype: DType, shape: readonly number[], offset = 0): Tensor {
  const random = new Random(seed);
  const bytes = shape.reduce((a, b) => a * b, 1) * bytesPerElement(dtype);
  const data = Uint8Array.from({ length: offset + bytes }, () => random.below(256));
  return { dtype, shape, data: data.subarray(offset) };
}

const element = ({ dtype, data }: Tensor, index: number) =>
  Buffer.from(data).toString("hex", index * bytesPerElement(dtype), (index + 1) * bytesPerElement(dtype));

const sizes = fc.record({
  seed: fc.nat(),
  dtype: fc.constantFrom(...DTYPES),
  rows: fc.integer({ min: 0, max: 150 }),
  columns: fc.integer({ min: 0, max: 150 }),
  offset: fc.constantFrom(0, 1, 4),
});

describe("transpose", () => {
  it("puts every element where it belongs, for elements of any size at any address", () => {
    fc.assert(
      fc.property(sizes, ({ seed, dtype, rows, columns, offset }) => {
        const tensor = randomTensor(seed, dtype, [rows, columns], offset);
        const result = transpose(tensor);
        expect([result.dtype, result.shape]).toEqual([dtype, [columns, rows]]);
        for (let i = 0; i < Math.min(50, rows * columns); i++) {
          const at = (i * 7919) % (rows * columns);
          const [row, column] = [Math.floor(at / columns), at % columns];
          expect(element(result, column * rows + row)).toBe(element(tensor, at));
        }
        expect(Buffer.compare(transpose(result).data, tensor.data)).toBe(0);
      }),
    );
  });

  it("refuses what is no matrix", () => {
    expect(() => transpose(randomTensor(1, "F32", [2, 3, 4]))).toThrow(RangeError);
    expect(() => transpose({ dtype: "F32", shape: [2, 3], data: new Uint8Array(25) })).toThrow(RangeError);
  });
});

describe("joinRows and splitRows", () => {
  it.each([
    [false, [1, 2, 3, 4, 5, 6, 7, 8]],
    [true, [1, 2, 5, 6, 3, 4, 7, 8]],
  ])("interleaved: %s", (interleaved, expected) => {
    const [a, b] = [
      { dtype: "U8", shape: [2, 2], data: Uint8Array.of(1, 2, 3, 4) },
      { dtype: "U8", shape: [2, 2], data: Uint8Array.of(5, 6, 7, 8) },
    ] as const;
    const joined = joinRows(a, b, interleaved);
    expect([joined.shape, [...joined.data]]).toEqual([[4, 2], expected]);
    expect(splitRows(joined, interleaved)).toEqual([a, b]);
  });

  it("undo each other, for matrices and vectors", () => {
    fc.assert(
      fc.property(sizes, fc.boolean(), fc.boolean(), ({ seed, dtype, rows, columns, offset }, interleaved, vector) => {
        const shape = vector ? [2 * rows + 2] : [2 * rows + 2, columns];
        const tensor = randomTensor(seed, dtype, shape, offset);
        const joined = joinRows(...splitRows(tensor, interleaved), interleaved);
        expect(joined.shape).toEqual(shape);
        expect(Buffer.compare(joined.data, tensor.data)).toBe(0);
      }),
    );
  });

  it("refuse what does not fit", () => {
    const matrix = randomTensor(1, "F32", [3, 4]);
    expect(() => splitRows(matrix, true)).toThrow(RangeError);
    expect(() => joinRows(matrix, randomTensor(1, "F32", [4, 3]), true)).toThrow(RangeError);
    expect(() => joinRows(matrix, randomTensor(1, "BF16", [3, 4]), false)).toThrow(RangeError);
  });
});
