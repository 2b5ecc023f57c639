import type { ConfigReader } from "../config.js";
import type { DenseDescription, MoeDescription } from "../description.js";
import { denseBlock, type Frame, gatedBlock, linear, softmaxMoe } from "./parts.js";

/** Which layers are MoE: l where l + 1 is a multiple of `decoder_sparse_step` and l is not in `mlp_only_layers`. */
export function sparseLayers(config: ConfigReader): (layer: number) => boolean {
  const dense = new Set(config.integers("mlp_only_layers"));
  const step = config.number("decoder_sparse_step", 1);
  return (layer) => !dense.has(layer) && step > 0 && (layer + 1) % step === 0;
}

/** The feed-forward block of Qwen's models with dense and MoE layers. `normalise`: what an absent `norm_topk_prob` means. */
export function qwenFeedForward(
  prefix: string,
  frame: Frame,
  isMoe: boolean,
  { normalise, shared }: { readonly normalise: boolean; readonly shared: boolean },
): DenseDescription | MoeDescription {
  if (!isMoe) return denseBlock(prefix, frame);
  const { config } = frame;
  const width = config.count("moe_intermediate_size");
  const routed = softmaxMoe(prefix, width, frame, config.boolean("norm_topk_prob", normalise));
  return shared ? { ...routed, shared: sharedExpert(prefix, frame) } : routed;
}

/** Qwen's shared expert, weighted by the sigmoid of a projection. */
export function sharedExpert(prefix: string, frame: Frame): NonNullable<MoeDescription["shared"]> {
  return {
    ...gatedBlock(`${prefix}mlp.shared_expert.`, frame.config.count("shared_expert_intermediate_size"), frame),
    weighting: linear(`${prefix}mlp.shared_expert_gate`, [1, frame.hidden]),
  };
}
