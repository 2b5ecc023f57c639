import { decode, encode } from "../dtypes.js";
import type { DType } from "../tensor.js";

/** How the integers of a matrix are laid over its values. */
export interface IntegerGrid {
  readonly bits: 4 | 8;
  /** Columns that share a scale; undefined: the whole row. */
  readonly group: number | undefined;
  /** Whether 0 is the code of the value 0; else each group has a zero point, the code of the value 0. */
  readonly symmetric: boolean;
}

/** A matrix `[rows, columns]` as codes: a value is scale * (code - zero). */
export interface IntegerCodes {
  readonly rows: number;
  readonly columns: number;
  /** `[rows, columns]`, from -2^(bits - 1) to 2^(bits - 1) - 1 whether symmetric or not. */
  readonly codes: Int8Array;
  /** `[rows, groups]`, numbers of the dtype that scales are stored in. */
  readonly scales: Float32Array;
  /** `[rows, groups]`; undefined: symmetric. */
  readonly zeros: Int8Array | undefined;
  /** `[columns]`: the group of each column, where they are in another order than the columns (GPTQ's activation order). */
  readonly groupOfColumn?: Int32Array | undefined;
}

/** Dtypes that scales are stored in. */
export const SCALE_DTYPES = ["BF16", "F16", "F32"] as const satisfies readonly DType[];

const one = new Float32Array(1);

/** A number rounded to a dtype of scales, to nearest even. Any other dtype is a `RangeError`. */
export function roundTo(dtype: DType, value: number): number {
  if (!SCALE_DTYPES.some((known) => known === dtype)) throw new RangeError(`scales of type ${dtype}`);
  one[0] = value;
  return dtype === "F32" ? one[0] : decode({ dtype, data: encode(dtype, one) })[0]!;
}

/**
 * The scale and the zero point for values from `minimum` to `maximum`, widened to hold 0: `calculate_qparams` of
 * compressed-tensors, whose every step is rounded to the dtype of the scales. Symmetric: scale = largest magnitude /
 * ((2^bits - 1) / 2), zero 0. Else scale = (maximum - minimum) / (2^bits - 1), zero = -2^(bits - 1) - minimum / scale,
 * rounded to a code. A scale of 0 becomes the dtype's epsilon, so that it can be divided by.
 */
export function gridOfRange(
  minimum: number,
  maximum: number,
  grid: IntegerGrid,
  scaleDtype: DType,
): { scale: number; zero: number } {
  const rounded = (value: number) => roundTo(scaleDtype, Math.fround(value));
  const [low, high] = [rounded(Math.min(minimum, 0)), rounded(Math.max(maximum, 0))];
  const steps = 2 ** grid.bits - 1;
  if (grid.symmetric) return { scale: scaleOf(Math.max(-low, high), steps / 2, scaleDtype), zero: 0 };
  const scale = rounded(rounded(high - low) / steps);
  const zero = rounded(-(2 ** (grid.bits - 1)) - rounded(low / scale));
  // 0 / 0 where all values are 0.
  return { scale: notZero(scale, scaleDtype), zero: Number.isNaN(zero) ? 0 : clampRound(zero, grid.bits) };
}

/** The scale of `dtype` that makes the largest magnitude `most`; the dtype's epsilon where it would be 0. */
export function scaleOf(largest: number, most: number, dtype: DType): number {
  return notZero(roundTo(dtype, Math.fround(largest / most)), dtype);
}

/** The code nearest to a value, value / scale + zero in float32, ties to even, limited to what `bits` can hold. */
export function codeOf(value: number, scale: number, zero: number, bits: number): number {
  return clampRound(Math.fround(Math.fround(value / scale) + zero), bits);
}

function clampRound(value: number, bits: number): number {
  const limit = 2 ** (bits - 1);
  const clamped = Math.max(-limit, Math.min(limit - 1, value));
  const up = Math.round(clamped);
  // Math.round takes halves up. Adding 0 makes -0 a 0.
  return (up - clamped === 0.5 && up % 2 !== 0 ? up - 1 : up) + 0;
}

const EPSILON: Readonly<Partial<Record<DType, number>>> = { BF16: 2 ** -7, F16: 2 ** -10, F32: 2 ** -23 };

function notZero(scale: number, dtype: DType): number {
  return scale === 0 ? EPSILON[dtype]! : scale;
}
