import type { ConfigReader } from "../config.js";
import type { ModelDescription } from "../description.js";
import { readRope } from "../rope.js";
import { correctedRouter, deepseekMoe } from "./deepseek-parts.js";
import { textModel } from "./multimodal.js";
import {
  type DecoderLayer,
  denseBlock,
  describeDecoder,
  groupedQueryAttention,
  headNorms,
  preNorm,
  readFrame,
  readHeads,
  type TensorNames,
} from "./parts.js";
import { followingPredictions } from "./predictions.js";

/**
 * GLM-4.5 and the text model of GLM-4.5V: grouped-query attention with partly rotated heads and DeepSeek-V3's experts.
 */
export function describeGlm4Moe(outer: ConfigReader, tensors: TensorNames): ModelDescription {
  const { config, names } = textModel(outer);
  const family = outer.string("model_type");
  const frame = readFrame(config, tensors, { defaultEpsilon: 1e-5 });
  const { headSize } = readHeads(frame);
  const rope = readRope(config, headSize, 10_000, { partial: 0.5 });
  const bias = config.boolean("attention_bias", family !== "glm4_moe");
  const normed = config.boolean("use_qk_norm", false);
  const firstMoe = config.number("first_k_dense_replace", 1);
  const layer = (index: number, prefix: string): DecoderLayer => ({
    aroundMixer: preNorm(`${prefix}input_layernorm.weight`, frame),
    mixer: {
      ...groupedQueryAttention(`${prefix}self_attn.`, frame, rope, { bias, outputBias: false }),
      ...(normed ? headNorms(`${prefix}self_attn.`, headSize, frame.epsilon) : {}),
    },
    aroundFeedForward: preNorm(`${prefix}post_attention_layernorm.weight`, frame),
    feedForward:
      index >= firstMoe ? deepseekMoe(prefix, frame, correctedRouter(prefix, frame)) : denseBlock(prefix, frame),
  });
  return describeDecoder(family, frame, layer, { ...names, ...followingPredictions(frame, layer, names.prefix) });
}
