import type { BlockSize } from "../checkpoint/quantised/fp8-blocks.js";

/**
 * How codes lie in bytes: `int4` and `uint8` in whole words of 32 bits for each row, less 8 and 128 (integer-packing.ts),
 * `e2m1` two to a byte; `int8` and `e4m3` a byte each.
 */
export type CodeKind = "int4" | "uint8" | "int8" | "e4m3" | "e2m1";

/** A matrix `[rows, columns]` as codes: a value is (code - zero) * factor. */
export interface ScaledCodes {
  readonly kind: CodeKind;
  readonly codes: Uint8Array;
  readonly rows: number;
  readonly columns: number;
  /** Rows and columns that share a factor. */
  readonly block: BlockSize;
  /** A row for each row of blocks, of which there may be more than the codes have. */
  readonly factors: Float32Array;
  /** Of the shape of the factors; undefined: 0. */
  readonly zeros?: Int8Array | undefined;
  /** Where the codes' first row lies in the matrix that the factors are of. */
  readonly firstRow: number;
  /** Dtype of the values. */
  readonly dtype: "BF16" | "F16" | "F32";
}

/** Values in bytes of their dtype, and whether all are finite. */
export interface ScaledValues {
  readonly data: Uint8Array;
  readonly finite: boolean;
}

/** Bytes of a row of codes. */
export function codeBytes(kind: CodeKind, columns: number): number {
  if (kind === "int4") return 4 * Math.ceil(columns / 8);
  if (kind === "uint8") return 4 * Math.ceil(columns / 4);
  return kind === "e2m1" ? Math.ceil(columns / 2) : columns;
}

/** Factors in a row of blocks, after a check of all sizes: what does not fit is a `RangeError`. */
export function factorColumns({ kind, codes, rows, columns, block, factors, zeros, firstRow }: ScaledCodes): number {
  const count = Math.ceil(columns / block[1]);
  const needed = Math.ceil((firstRow + rows) / block[0]) * count;
  const fits = codes.length === rows * codeBytes(kind, columns) && factors.length >= needed;
  if (fits && (zeros === undefined || zeros.length === factors.length)) return count;
  throw new RangeError(`${codes.length} bytes of codes, ${factors.length} factors for [${rows}, ${columns}]`);
}
