import type { DType } from "../checkpoint/tensor.js";
import type { Backend } from "../engine/backend.js";
import type { ModelDescription } from "../model/description.js";
import type { ResolvedCompressOptions } from "./options.js";

const DTYPES: Record<"bf16" | "f16" | "f32", DType> = { bf16: "BF16", f16: "F16", f32: "F32" };

/** What the output looks like. */
export interface OutputTarget {
  /** Dtype of the output's floats, of which it then consists; undefined: tensors are stored as in the source. */
  readonly dtype: DType | undefined;
  /**
   * Dtype in which groups are merged, before the result is stored, and as later layers see them; undefined: that of the
   * stored tensors. Float32 where everything is computed in it, so that only the result is rounded.
   */
  readonly mergedDtype: DType | undefined;
  /** Whether experts of a quantised source are stored in its form again. */
  readonly requantises: boolean;
  readonly shards: "source" | "layer";
}

export function outputTarget(
  { outputDtype, shards }: Pick<ResolvedCompressOptions, "outputDtype" | "shards">,
  { precision }: Backend,
  { quantisation }: Pick<ModelDescription, "quantisation">,
): OutputTarget {
  const dtype = outputDtype === "same" ? undefined : DTYPES[outputDtype];
  // What is rounded anew in a weight format is not rounded to a dtype of floats before.
  const requantises = quantisation !== undefined && dtype === undefined;
  return { dtype, mergedDtype: precision === "f32" || requantises ? "F32" : dtype, requantises, shards };
}
