import type { ConfigReader } from "../config.js";
import type { ModelDescription } from "../description.js";
import { readRope } from "../rope.js";
import {
  describeDecoder,
  groupedQueryAttention,
  mixtralMoe,
  preNorm,
  readFrame,
  readHeads,
  type TensorNames,
} from "./parts.js";

/** Mixtral: every layer is MoE, weights are always divided by their sum; optionally a window. */
export function describeMixtral(config: ConfigReader, tensors: TensorNames): ModelDescription {
  const frame = readFrame(config, tensors, { defaultEpsilon: 1e-5 });
  const rope = readRope(config, readHeads(frame).headSize, 1e6);
  const window = config.has("sliding_window") ? config.count("sliding_window") : undefined;
  return describeDecoder("mixtral", frame, (_, prefix) => ({
    aroundMixer: preNorm(`${prefix}input_layernorm.weight`, frame),
    mixer: { ...groupedQueryAttention(`${prefix}self_attn.`, frame, rope), window },
    aroundFeedForward: preNorm(`${prefix}post_attention_layernorm.weight`, frame),
    feedForward: mixtralMoe(prefix, frame, { scores: "softmax", normalise: true }),
  }));
}
