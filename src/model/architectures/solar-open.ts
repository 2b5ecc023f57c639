import type { ConfigReader } from "../config.js";
import type { ModelDescription } from "../description.js";
import { readRope } from "../rope.js";
import { correctedRouter, deepseekMoe } from "./deepseek-parts.js";
import {
  describeDecoder,
  expectOption,
  groupedQueryAttention,
  preNorm,
  readFrame,
  readHeads,
  type TensorNames,
} from "./parts.js";

/** Solar Open: grouped-query attention and DeepSeek-V3's experts in every layer. */
export function describeSolarOpen(config: ConfigReader, tensors: TensorNames): ModelDescription {
  expectOption(config, "use_qk_norm", [false]);
  const frame = readFrame(config, tensors, { defaultEpsilon: 1e-5 });
  const rope = readRope(config, readHeads(frame).headSize, 1e6);
  const bias = config.boolean("attention_bias", false);
  return describeDecoder("solar_open", frame, (_, prefix) => ({
    aroundMixer: preNorm(`${prefix}input_layernorm.weight`, frame),
    mixer: groupedQueryAttention(`${prefix}self_attn.`, frame, rope, { bias, outputBias: false }),
    aroundFeedForward: preNorm(`${prefix}post_attention_layernorm.weight`, frame),
    feedForward: deepseekMoe(prefix, frame, correctedRouter(prefix, frame)),
  }));
}
