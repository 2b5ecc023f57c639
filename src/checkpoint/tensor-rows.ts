import type { Tensor } from "./tensor.js";

/** The given rows of a tensor, as stored: entries of the first axis, or of the last axis of a `[1, n]` tensor. */
export function pickTensorRows(tensor: Tensor, rows: readonly number[], axis = 0): Tensor {
  const bytes = tensor.data.length / tensor.shape[axis]!;
  const data = new Uint8Array(rows.length * bytes);
  for (const [i, row] of rows.entries()) data.set(tensor.data.subarray(row * bytes, (row + 1) * bytes), i * bytes);
  return { dtype: tensor.dtype, shape: tensor.shape.with(axis, rows.length), data };
}

/** The rows of some ranges `[begin, end)` of a tensor's first axis, one range after the other, as stored. */
export function pickRanges(tensor: Tensor, ranges: readonly (readonly [begin: number, end: number])[]): Tensor {
  const bytes = tensor.data.length / tensor.shape[0]!;
  const rows = ranges.reduce((sum, [begin, end]) => sum + end - begin, 0);
  const data = new Uint8Array(rows * bytes);
  let row = 0;
  for (const [begin, end] of ranges) {
    data.set(tensor.data.subarray(begin * bytes, end * bytes), row * bytes);
    row += end - begin;
  }
  return { dtype: tensor.dtype, shape: [rows, ...tensor.shape.slice(1)], data };
}
