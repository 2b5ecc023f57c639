import type { Tensor } from "./tensor.js";
import { pickTensorRows } from "./tensor-rows.js";

/** Rows and columns of a block of the transposition: source and target of one stay in the first-level cache. */
const BLOCK = 64;

/** Arrays that move elements of a size as they are. (Float arrays could change the payload of a NaN.) */
const ARRAYS = { 1: Uint8Array, 2: Uint16Array, 4: Uint32Array, 8: BigUint64Array } as const;

/** A matrix `[rows, columns]` of any dtype as `[columns, rows]`. */
export function transpose({ dtype, shape, data }: Tensor): Tensor {
  const [rows, columns] = shape;
  if (rows === undefined || columns === undefined || shape.length !== 2)
    throw new RangeError(`[${shape.join(", ")}] is not a matrix`);
  const size = rows * columns === 0 ? 1 : data.byteLength / (rows * columns);
  const ElementArray = ARRAYS[size as keyof typeof ARRAYS];
  if (ElementArray === undefined) throw new RangeError(`${data.byteLength} bytes for a matrix [${rows}, ${columns}]`);
  const { buffer, byteOffset } = data.byteOffset % size === 0 ? data : data.slice();
  // All four are arrays of numbers to what follows: it only moves them.
  const source = new ElementArray(buffer as ArrayBuffer, byteOffset, rows * columns) as Uint8Array;
  const target = new ElementArray(rows * columns) as Uint8Array;
  turn(source, target, rows, columns);
  return { dtype, shape: [columns, rows], data: new Uint8Array(target.buffer) };
}

/** Values `[rows, columns]` as `[columns, rows]`. */
export function transposed<Values extends Int8Array | Float32Array>(values: Values, columns: number): Values {
  const target = (
    values instanceof Int8Array ? new Int8Array(values.length) : new Float32Array(values.length)
  ) as Values;
  turn(values, target, values.length / columns, columns);
  return target;
}

/** Arrays of numbers, which are only moved. */
type Moved = Uint8Array | Int8Array | Float32Array;

function turn(source: Moved, target: Moved, rows: number, columns: number): void {
  for (let top = 0; top < rows; top += BLOCK) {
    const bottom = Math.min(rows, top + BLOCK);
    for (let left = 0; left < columns; left += BLOCK) {
      const right = Math.min(columns, left + BLOCK);
      for (let column = left; column < right; column++) {
        for (let row = top; row < bottom; row++) target[column * rows + row] = source[row * columns + column]!;
      }
    }
  }
}

/** Rows of a, then those of b: as one tensor, or `interleaved`, a row of each in turn. A vector's rows are its entries. */
export function joinRows(a: Tensor, b: Tensor, interleaved: boolean): Tensor {
  const [rows = 0, ...rest] = a.shape;
  if (a.dtype !== b.dtype || a.shape.join() !== b.shape.join())
    throw new RangeError(`${a.dtype} [${a.shape.join(", ")}] joined with ${b.dtype} [${b.shape.join(", ")}]`);
  const data = new Uint8Array(a.data.length + b.data.length);
  if (interleaved) {
    const bytes = a.data.length / rows;
    for (let row = 0; row < rows; row++) {
      data.set(a.data.subarray(row * bytes, (row + 1) * bytes), 2 * row * bytes);
      data.set(b.data.subarray(row * bytes, (row + 1) * bytes), (2 * row + 1) * bytes);
    }
  } else {
    data.set(a.data);
    data.set(b.data, a.data.length);
  }
  return { dtype: a.dtype, shape: [2 * rows, ...rest], data };
}

/** What `joinRows` joined. */
export function splitRows(tensor: Tensor, interleaved: boolean): [Tensor, Tensor] {
  const half = tensor.shape[0]! / 2;
  if (!Number.isInteger(half)) throw new RangeError(`[${tensor.shape.join(", ")}] has no two halves`);
  const rows = (first: number, step: number) =>
    pickTensorRows(
      tensor,
      Array.from({ length: half }, (_, row) => first + step * row),
    );
  return interleaved ? [rows(0, 2), rows(1, 2)] : [rows(0, 1), rows(half, 1)];
}
