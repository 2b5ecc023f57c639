import type { ConfigReader } from "../config.js";
import type { ModelDescription } from "../description.js";
import { readRope } from "../rope.js";
import {
  describeDecoder,
  gatedBlock,
  groupedQueryAttention,
  headNorms,
  preNorm,
  readExperts,
  readFrame,
  readHeads,
  type TensorNames,
} from "./parts.js";
import { sparseLayers } from "./qwen-layers.js";

/**
 * Qwen3-MoE: grouped-query attention with RMS norm on each query and key head, softmax router with optional
 * renormalisation over the top k, no shared expert.
 */
export function describeQwen3Moe(config: ConfigReader, tensors: TensorNames): ModelDescription {
  const frame = readFrame(config, tensors);
  const { headSize } = readHeads(frame);
  const rope = readRope(config, headSize, 10_000);
  const isMoe = sparseLayers(config);
  const bias = config.boolean("attention_bias", false);
  // transformers ignores sliding_window unless use_sliding_window is set, and applies it to every layer if it is.
  const window = config.boolean("use_sliding_window", false) ? config.count("sliding_window", 4096) : undefined;
  return describeDecoder("qwen3_moe", frame, (index, prefix) => ({
    aroundMixer: preNorm(`${prefix}input_layernorm.weight`, frame),
    mixer: {
      ...groupedQueryAttention(`${prefix}self_attn.`, frame, rope, { bias }),
      ...headNorms(`${prefix}self_attn.`, headSize, frame.epsilon),
      window,
    },
    aroundFeedForward: preNorm(`${prefix}post_attention_layernorm.weight`, frame),
    feedForward: isMoe(index)
      ? {
          kind: "moe",
          activation: frame.activation,
          router: {
            weight: `${prefix}mlp.gate.weight`,
            scores: "softmax",
            topK: frame.topK,
            normalise: config.boolean("norm_topk_prob", false),
          },
          experts: readExperts(`${prefix}mlp.experts.`, config.count("moe_intermediate_size"), frame),
        }
      : { kind: "dense", ...gatedBlock(`${prefix}mlp.`, config.count("intermediate_size"), frame) },
  }));
}
