import type { ConfigReader } from "../config.js";
import type { ModelDescription } from "../description.js";
import { readRope } from "../rope.js";
import {
  type DecoderLayer,
  describeDecoder,
  type Frame,
  groupedQueryAttention,
  headNorms,
  preNorm,
  readFrame,
  readHeads,
  type TensorNames,
} from "./parts.js";
import { qwenFeedForward, sparseLayers } from "./qwen-layers.js";

/**
 * Qwen3-MoE: grouped-query attention with RMS norm on each query and key head, softmax router with optional
 * renormalisation over the top k, no shared expert.
 */
export function describeQwen3Moe(config: ConfigReader, tensors: TensorNames): ModelDescription {
  const frame = readFrame(config, tensors);
  return describeDecoder("qwen3_moe", frame, qwen3Layers(frame));
}

/** The layers of Qwen3-MoE. `normalise`: what an absent `norm_topk_prob` means. */
export function qwen3Layers(frame: Frame, { normalise = false } = {}): (index: number, prefix: string) => DecoderLayer {
  const { config } = frame;
  const { headSize } = readHeads(frame);
  const rope = readRope(config, headSize, 10_000);
  const isMoe = sparseLayers(config);
  const bias = config.boolean("attention_bias", false);
  // transformers ignores sliding_window unless use_sliding_window is set, and applies it to every layer if it is.
  const window = config.boolean("use_sliding_window", false) ? config.count("sliding_window", 4096) : undefined;
  return (index, prefix) => ({
    aroundMixer: preNorm(`${prefix}input_layernorm.weight`, frame),
    mixer: {
      ...groupedQueryAttention(`${prefix}self_attn.`, frame, rope, { bias }),
      ...headNorms(`${prefix}self_attn.`, headSize, frame.epsilon),
      window,
    },
    aroundFeedForward: preNorm(`${prefix}post_attention_layernorm.weight`, frame),
    feedForward: qwenFeedForward(prefix, frame, isMoe(index), { normalise, shared: false }),
  });
}
