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
  sparseByType,
  type TensorNames,
} from "./parts.js";
import { followingPredictions } from "./predictions.js";

/**
 * DeepSeek-V3.2 and GLM-5 (`glm_moe_dsa`): DeepSeek-V3 whose indexer chooses `index_topk` tokens that attention sees. Up to
 * that length these are all; longer sequences are refused, so that the indexer never has to run.
 */
export function describeDeepseekV32(config: ConfigReader, tensors: TensorNames): ModelDescription {
  expectOption(config, "scoring_func", ["sigmoid"]);
  expectOption(config, "topk_method", ["noaux_tc"]);
  expectOption(config, "moe_layer_freq", [1]);
  expectOption(config, "rope_interleave", [true]);
  const family = config.string("model_type");
  const frame = readFrame(config, tensors, { defaultEpsilon: family === "glm_moe_dsa" ? 1e-5 : 1e-6 });
  const isSparse = sparseByType(frame, config.number("first_k_dense_replace", 3));
  const layer = (index: number, prefix: string): DecoderLayer => ({
    aroundMixer: preNorm(`${prefix}input_layernorm.weight`, frame),
    mixer: latentAttention(`${prefix}self_attn.`, frame, true),
    aroundFeedForward: preNorm(`${prefix}post_attention_layernorm.weight`, frame),
    feedForward: isSparse(index)
      ? deepseekMoe(prefix, frame, correctedRouter(prefix, frame))
      : denseBlock(prefix, frame),
  });
  return describeDecoder(family, frame, layer, {
    ...followingPredictions(frame, layer),
    exactPositions: config.count("index_topk", 2048),
  });
}
