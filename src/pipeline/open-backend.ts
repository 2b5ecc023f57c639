import type { Backend } from "../engine/backend.js";
import { type BackendChoice, selectBackend } from "../engine/select.js";
import type { OpenedModel } from "./open-model.js";
import type { ResolvedCompressOptions } from "./options.js";

/**
 * The backend to compute a model with. Precision `auto` is bfloat16 where the weights are stored in it: rounding them
 * costs nothing then. `warn` is told where the native core is not available.
 */
export function openBackend(
  options: Pick<ResolvedCompressOptions, "precision"> & Omit<BackendChoice, "precision">,
  { checkpoint, model }: Pick<OpenedModel, "checkpoint" | "model">,
  warn: (message: string) => void,
): Backend {
  const dtype = checkpoint.tensors.get(model.embedding)?.dtype;
  const precision = options.precision !== "auto" ? options.precision : dtype === "BF16" ? "bf16" : "f32";
  return selectBackend({ backend: options.backend, precision, threads: options.threads }, warn);
}
