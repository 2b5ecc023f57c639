import type { ConfigReader } from "../config.js";
import type { ModelDescription } from "../description.js";
import { correctedRouter, deepseekMoe, latentAttention } from "./deepseek-parts.js";
import {
  type DecoderLayer,
  denseBlock,
  describeDecoder,
  expectOption,
  preNorm,
  readFrame,
  type TensorNames,
} from "./parts.js";
import { followingPredictions } from "./predictions.js";

/**
 * DeepSeek-V3 and R1, Moonlight, Kimi K2 (`kimi_k2`): latent attention, sigmoid router with correction bias and groups,
 * shared experts, the first layers dense.
 */
export function describeDeepseekV3(config: ConfigReader, tensors: TensorNames): ModelDescription {
  expectOption(config, "scoring_func", ["sigmoid"]);
  expectOption(config, "topk_method", ["noaux_tc"]);
  expectOption(config, "moe_layer_freq", [1]);
  const frame = readFrame(config, tensors);
  const firstMoe = config.number("first_k_dense_replace", 3);
  const adjacent = config.boolean("rope_interleave", true);
  const layer = (index: number, prefix: string): DecoderLayer => ({
    aroundMixer: preNorm(`${prefix}input_layernorm.weight`, frame),
    mixer: latentAttention(`${prefix}self_attn.`, frame, adjacent),
    aroundFeedForward: preNorm(`${prefix}post_attention_layernorm.weight`, frame),
    feedForward:
      index >= firstMoe ? deepseekMoe(prefix, frame, correctedRouter(prefix, frame)) : denseBlock(prefix, frame),
  });
  const prefix = tensors.root?.prefix;
  return describeDecoder(config.string("model_type"), frame, layer, followingPredictions(frame, layer, prefix));
}
