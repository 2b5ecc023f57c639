import type { Backend, GramFactor } from "../../engine/backend.js";
import { checkSparsity, type MatrixShape, type Sparsity, zerosOf } from "./sparsity.js";
import { checkFinite } from "./weight-numbers.js";

/** Columns whose mask is chosen at once, as published. */
export const BLOCK_SIZE = 128;

/**
 * SparseGPT (Frantar & Alistarh 2023, arXiv 2301.00774): zeroes weights and changes the others of the row in place, so that
 * the outputs change least. The mask of a share is chosen block by block of columns, over all rows together, when the
 * block is reached; that of n:m run by run. Scores are w² / [H⁻¹]_jj of the weights as updated so far, the inverse being
 * that of the columns that are left. Inputs that were never other than 0 have score 0. Counts are exact: after each block
 * floor(share * weights so far) are zero; among equals those that come first, row by row.
 *
 * @param weight `[rows, columns]`
 * @param factor of `factorGram`, without activation order
 * @returns the sum over the calibration's tokens of the squared change of the outputs, trace(D H Dᵀ)
 * @throws ReamError SPARSITY_SHAPE, NOT_FINITE
 */
export function pruneSparsegpt(
  backend: Backend,
  weight: Float32Array,
  shape: MatrixShape,
  factor: GramFactor,
  sparsity: Sparsity,
  { blockSize = BLOCK_SIZE }: { readonly blockSize?: number } = {},
): { readonly error: number } {
  checkSparsity(weight, shape, sparsity);
  checkFinite(weight);
  const [rows, columns] = shape;
  if (factor.columns !== columns) throw new RangeError(`a factor of ${factor.columns} columns for ${columns}`);
  if (sparsity.kind === "n:m") return backend.sparsegpt(weight, factor, sparsity);
  if (!(Number.isInteger(blockSize) && blockSize >= 1)) throw new RangeError(`blocks of ${blockSize} columns`);
  const until = (column: number) => zerosOf(sparsity.share, rows * Math.min(column, columns));
  const blocks = Math.ceil(columns / blockSize);
  const counts = Int32Array.from({ length: blocks }, (_, b) => until((b + 1) * blockSize) - until(b * blockSize));
  return backend.sparsegpt(weight, factor, { kind: "blocks", size: blockSize, counts });
}
