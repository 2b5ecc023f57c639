import type { DType } from "../checkpoint/tensor.js";
import type { Backend } from "../engine/backend.js";
import type { ResolvedCompressOptions } from "./options.js";

const DTYPES: Record<"bf16" | "f16" | "f32", DType> = { bf16: "BF16", f16: "F16", f32: "F32" };

/** What the output looks like. */
export interface OutputTarget {
  /** Dtype of the output's floats; undefined: as in the source. */
  readonly dtype: DType | undefined;
  /**
   * Dtype in which groups are merged, before the result is stored, and as later layers see them; undefined: that of the
   * stored tensors. Float32 where everything is computed in it, so that only the result is rounded.
   */
  readonly mergedDtype: DType | undefined;
  readonly shards: "source" | "layer";
}

export function outputTarget(
  { outputDtype, shards }: Pick<ResolvedCompressOptions, "outputDtype" | "shards">,
  { precision }: Backend,
): OutputTarget {
  const dtype = outputDtype === "same" ? undefined : DTYPES[outputDtype];
  return { dtype, mergedDtype: precision === "f32" ? "F32" : dtype, shards };
}
