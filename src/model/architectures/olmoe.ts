import type { ConfigReader } from "../config.js";
import type { ModelDescription } from "../description.js";
import { readRope } from "../rope.js";
import {
  describeDecoder,
  groupedQueryAttention,
  preNorm,
  readFrame,
  readHeads,
  softmaxMoe,
  type TensorNames,
  wholeNorms,
} from "./parts.js";

/** OLMoE: norms over all query and all key heads together, optional clipping, every layer MoE. */
export function describeOlmoe(config: ConfigReader, tensors: TensorNames): ModelDescription {
  const frame = readFrame(config, tensors, { defaultEpsilon: 1e-5 });
  const rope = readRope(config, readHeads(frame).headSize, 10_000);
  const bias = config.boolean("attention_bias", false);
  const clip = config.has("clip_qkv") ? config.number("clip_qkv") : undefined;
  return describeDecoder("olmoe", frame, (_, prefix) => {
    const attention = groupedQueryAttention(`${prefix}self_attn.`, frame, rope, { bias });
    return {
      aroundMixer: preNorm(`${prefix}input_layernorm.weight`, frame),
      mixer: { ...attention, ...wholeNorms(`${prefix}self_attn.`, attention, frame.epsilon), clip },
      aroundFeedForward: preNorm(`${prefix}post_attention_layernorm.weight`, frame),
      feedForward: softmaxMoe(
        prefix,
        config.count("intermediate_size"),
        frame,
        config.boolean("norm_topk_prob", false),
      ),
    };
  });
}
