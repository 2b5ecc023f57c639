import type { IntegerCodes, IntegerGrid } from "../../checkpoint/quantised/integer-grid.js";
import type { DType } from "../../checkpoint/tensor.js";
import type { Backend, GramFactor } from "../../engine/backend.js";
import type { MatrixShape } from "./sparsity.js";
import { checkFinite } from "./weight-numbers.js";

export interface GptqOptions {
  readonly grid: IntegerGrid;
  /** Dtype that scales are stored in: BF16, F16 or F32. */
  readonly scaleDtype: DType;
}

export interface GptqResult extends IntegerCodes {
  /** Sum over the calibration's tokens of the squared change of the outputs, trace((W - Q) H (W - Q)ᵀ). */
  readonly error: number;
}

/**
 * GPTQ (Frantar et al. 2022, arXiv 2210.17323): integer codes of a matrix, column after column, each taking up what the
 * rounding of those before it did to the outputs. `weight` is left as it is.
 *
 * The scale of a group comes from its weights as updated when its first column is reached; that of a whole row from the
 * row. With a factor in activation order scales come from the weights as given, and groups are those of the columns as
 * they lie in the matrix, so that no index of groups need be stored (llm-compressor's "static" order).
 *
 * @param weight `[rows, columns]`
 * @param factor of `factorGram`
 * @throws ReamError NOT_FINITE
 */
export function gptq(
  backend: Backend,
  weight: Float32Array,
  [rows, columns]: MatrixShape,
  factor: GramFactor,
  { grid, scaleDtype }: GptqOptions,
): GptqResult {
  if (weight.length !== rows * columns) throw new RangeError(`${weight.length} weights are not ${rows} x ${columns}`);
  if (factor.columns !== columns) throw new RangeError(`a factor of ${factor.columns} columns for ${columns}`);
  const { bits, group } = grid;
  if (bits !== 4 && bits !== 8) throw new RangeError(`${bits} bits`);
  if (group !== undefined && !(Number.isInteger(group) && group >= 1)) throw new RangeError(`groups of ${group}`);
  checkFinite(weight);
  const { codes, scales, zeros, error } = backend.gptq(weight, factor, grid, scaleDtype);
  return { rows, columns, codes, scales, zeros: grid.symmetric ? undefined : zeros, error };
}
