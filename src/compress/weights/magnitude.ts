import type { Backend } from "../../engine/backend.js";
import { checkSparsity, type MatrixShape, type Sparsity, zerosOf } from "./sparsity.js";

/**
 * Zeroes in place the weights of smallest magnitude (Han et al. 2015, arXiv 1506.02626): of the whole matrix for a share,
 * of each run for n:m. Among equals those that come first, row by row, so that the count is exact.
 *
 * @param weight `[rows, columns]`
 * @throws ReamError SPARSITY_SHAPE
 */
export function pruneMagnitude(backend: Backend, weight: Float32Array, shape: MatrixShape, sparsity: Sparsity): void {
  checkSparsity(weight, shape, sparsity);
  if (sparsity.kind === "n:m") backend.zeroSmallest(weight, shape[1], sparsity.of, sparsity.zeros);
  else backend.zeroSmallest(weight, shape[1], weight.length, zerosOf(sparsity.share, weight.length));
}
