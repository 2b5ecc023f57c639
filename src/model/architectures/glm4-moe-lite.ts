import type { ConfigReader } from "../config.js";
import type { ModelDescription } from "../description.js";
import { correctedRouter, deepseekMoe, latentAttention } from "./deepseek-parts.js";
import {
  type DecoderLayer,
  denseBlock,
  describeDecoder,
  preNorm,
  readFrame,
  sparseByType,
  type TensorNames,
} from "./parts.js";
import { followingPredictions } from "./predictions.js";

/** GLM-4.7-Flash: DeepSeek-V3 whose dense layers are named by `mlp_layer_types`. */
export function describeGlm4MoeLite(config: ConfigReader, tensors: TensorNames): ModelDescription {
  const frame = readFrame(config, tensors, { defaultEpsilon: 1e-5 });
  const isMoe = sparseByType(frame, config.number("first_k_dense_replace", 1));
  const adjacent = config.boolean("rope_interleave", true);
  const layer = (index: number, prefix: string): DecoderLayer => ({
    aroundMixer: preNorm(`${prefix}input_layernorm.weight`, frame),
    mixer: latentAttention(`${prefix}self_attn.`, frame, adjacent),
    aroundFeedForward: preNorm(`${prefix}post_attention_layernorm.weight`, frame),
    feedForward: isMoe(index) ? deepseekMoe(prefix, frame, correctedRouter(prefix, frame)) : denseBlock(prefix, frame),
  });
  return describeDecoder("glm4_moe_lite", frame, layer, followingPredictions(frame, layer));
}
