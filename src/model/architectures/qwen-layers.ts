import type { ConfigReader } from "../config.js";
import type { MoeDescription } from "../description.js";
import { type Frame, gatedBlock, linear } from "./parts.js";

/** Which layers are MoE: l where l + 1 is a multiple of `decoder_sparse_step` and l is not in `mlp_only_layers`. */
export function sparseLayers(config: ConfigReader): (layer: number) => boolean {
  const dense = new Set(config.integers("mlp_only_layers"));
  const step = config.number("decoder_sparse_step", 1);
  return (layer) => !dense.has(layer) && step > 0 && (layer + 1) % step === 0;
}

/** Qwen's shared expert, weighted by the sigmoid of a projection. */
export function sharedExpert(prefix: string, frame: Frame): NonNullable<MoeDescription["shared"]> {
  return {
    ...gatedBlock(`${prefix}mlp.shared_expert.`, frame.config.count("shared_expert_intermediate_size"), frame),
    weighting: linear(`${prefix}mlp.shared_expert_gate`, [1, frame.hidden]),
  };
}
