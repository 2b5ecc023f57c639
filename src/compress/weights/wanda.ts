import type { Backend } from "../../engine/backend.js";
import { notFinite } from "../not-finite.js";
import { checkSparsity, type MatrixShape, type Sparsity, zerosOf } from "./sparsity.js";

/**
 * Wanda (Sun et al. 2023, arXiv 2306.11695): zeroes in place the weights with the smallest |w_ij| ||X_j||, compared inside
 * each row (the paper's output), or inside each run for n:m. Among equals those that come first.
 *
 * @param weight `[rows, columns]`
 * @param squares `[columns]`: sums of the squares of each input over tokens, ||X_j||² (`Backend.addColumnSquares`)
 * @throws ReamError SPARSITY_SHAPE, NOT_FINITE
 */
export function pruneWanda(
  backend: Backend,
  weight: Float32Array,
  shape: MatrixShape,
  squares: Float64Array,
  sparsity: Sparsity,
): void {
  checkSparsity(weight, shape, sparsity);
  const [, columns] = shape;
  if (squares.length !== columns) throw new RangeError(`${squares.length} sums of squares for ${columns} columns`);
  if (!squares.every(Number.isFinite)) throw notFinite("squares of inputs");
  const norms = normsOf(squares);
  if (sparsity.kind === "n:m") backend.zeroSmallest(weight, columns, sparsity.of, sparsity.zeros, norms);
  else backend.zeroSmallest(weight, columns, columns, zerosOf(sparsity.share, columns), norms);
}

/**
 * Norms of inputs. Where no input was ever other than 0, as for an expert that no token of the calibration reached, all
 * scores would be equal: then weights count by magnitude.
 */
function normsOf(squares: Float64Array): Float32Array {
  const seen = squares.some((value) => value > 0);
  return Float32Array.from(squares, (value) => (seen ? Math.sqrt(value) : 1));
}
