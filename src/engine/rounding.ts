import type { BlockSize } from "../checkpoint/quantised/fp8-blocks.js";
import type { IntegerGrid } from "../checkpoint/quantised/integer-grid.js";
import type { DType } from "../checkpoint/tensor.js";

/** How a matrix is rounded to nearest. `scaleDtype` is one that scales are stored in (integer-grid.ts). */
export type Rounding =
  /** Integers by `gridOfRange` and `codeOf` of each group. */
  | { readonly kind: "integers"; readonly grid: IntegerGrid; readonly scaleDtype: DType }
  /** E4M3 with a scale for each block, the last ones partial: the largest magnitude / 448, or the power of two above. */
  | { readonly kind: "e4m3"; readonly block: BlockSize; readonly scaleDtype: DType; readonly powersOfTwo?: boolean }
  /** E2M1 with a power of two for every 32, as compressed-tensors chooses it: the largest magnitude has code 4 to 6. */
  | { readonly kind: "mxfp4" }
  /** E2M1 with an E4M3 scale for every 16: the largest magnitude / 6 * globalScale. */
  | { readonly kind: "nvfp4"; readonly globalScale: number };

/** A matrix that was rounded, in the bytes that it is stored as. Where it is not finite, nor is the scale. */
export interface RoundedMatrix {
  /** `[rows, columns]`: integers as `packRows` has them, E4M3 a byte each, E2M1 two to a byte, the first in the low half. */
  readonly codes: Uint8Array;
  /** In their dtype: a row for each row of the matrix or row of blocks. E8M0 for MXFP4, 255 its NaN. */
  readonly scales: Uint8Array;
  /** Zero points `[rows, groups]` of integers that are not symmetric. */
  readonly zeros?: Int8Array | undefined;
}
