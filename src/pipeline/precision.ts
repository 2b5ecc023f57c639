import type { Checkpoint } from "../checkpoint/checkpoint.js";
import type { Precision } from "../engine/backend.js";
import type { ModelDescription } from "../model/description.js";

/** `auto` computes in bfloat16 where the weights are stored in it: rounding them costs nothing then. */
export function resolvePrecision(
  asked: "auto" | Precision,
  checkpoint: Checkpoint,
  model: ModelDescription,
): Precision {
  if (asked !== "auto") return asked;
  return checkpoint.info(model.layers[0]!.attention.query.weight).dtype === "BF16" ? "bf16" : "f32";
}
