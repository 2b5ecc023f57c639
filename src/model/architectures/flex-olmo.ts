import type { ConfigReader } from "../config.js";
import type { ModelDescription, Sublayer } from "../description.js";
import { readRope } from "../rope.js";
import {
  describeDecoder,
  groupedQueryAttention,
  readFrame,
  readHeads,
  rmsNorm,
  softmaxMoe,
  type TensorNames,
  wholeNorms,
} from "./parts.js";

/** FlexOlmo: as OLMoE, but the norms come after attention and experts. */
export function describeFlexOlmo(config: ConfigReader, tensors: TensorNames): ModelDescription {
  const frame = readFrame(config, tensors);
  const rope = readRope(config, readHeads(frame).headSize, 500_000);
  const bias = config.boolean("attention_bias", false);
  const postNorm = (name: string): Sublayer => ({ outputNorm: rmsNorm(name, frame.hidden, frame.epsilon) });
  return describeDecoder("flex_olmo", frame, (_, prefix) => {
    const attention = groupedQueryAttention(`${prefix}self_attn.`, frame, rope, { bias });
    return {
      aroundMixer: postNorm(`${prefix}post_attention_layernorm.weight`),
      mixer: { ...attention, ...wholeNorms(`${prefix}self_attn.`, attention, frame.epsilon) },
      aroundFeedForward: postNorm(`${prefix}post_feedforward_layernorm.weight`),
      feedForward: softmaxMoe(
        prefix,
        config.count("intermediate_size"),
        frame,
        config.boolean("norm_topk_prob", false),
      ),
    };
  });
}
