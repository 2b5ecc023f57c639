import { encode } from "../../checkpoint/dtypes.js";
import type { Tensor } from "../../checkpoint/tensor.js";
import type { Backend, Precision } from "../../engine/backend.js";
import { Random } from "../../random.js";

/** An operation of a backend. */
export type Operation = {
  [Name in keyof Backend]: Backend[Name] extends (...args: never[]) => unknown ? Name : never;
}[keyof Backend];

export type Numbers = Float32Array | Float64Array | Int32Array | Uint8Array;

/** One use of some operations, in a shape whose sizes are few multiples of what kernels take at once. */
export interface Check {
  /** What it uses. */
  readonly operations: readonly Operation[];
  /** Largest difference that rounding explains, relative to the largest magnitude of an array of results. */
  readonly tolerance: number | Readonly<Record<Precision, number>>;
  /** Computes with a backend; always of the same inputs. */
  run(backend: Backend): Numbers[];
}

/** Rounding of float32 sums in another order. */
export const SUMS = 5e-6;
/** As `SUMS`; in bf16 an activation near the middle of two bfloat16 numbers may be rounded to the other one. */
export const ROUNDED_BETWEEN = { f32: SUMS, bf16: 4e-3 } as const;

export function normals(seed: number, length: number, scale = 1): Float32Array {
  const random = new Random(seed);
  return Float32Array.from({ length }, () => scale * random.normal());
}

export function randomTensor(seed: number, rows: number, columns: number): Tensor {
  const values = normals(seed, rows * columns, 1 / Math.sqrt(columns));
  return { dtype: "BF16", shape: [rows, columns], data: encode("BF16", values) };
}
