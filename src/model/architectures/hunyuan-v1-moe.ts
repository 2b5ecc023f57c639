import type { ConfigReader } from "../config.js";
import type { ModelDescription } from "../description.js";
import { type RopeDescription, readRope } from "../rope.js";
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

/** Hunyuan-A13B: heads are normed after their rotation; a shared expert beside the routed ones. */
export function describeHunyuanV1Moe(config: ConfigReader, tensors: TensorNames): ModelDescription {
  const frame = readFrame(config, tensors, { topK: "moe_topk", defaultEpsilon: 1e-5 });
  const { headSize } = readHeads(frame);
  const rope = readAlphaRope(config, headSize);
  const bias = config.boolean("attention_bias", false);
  const width = config.count("intermediate_size");
  return describeDecoder("hunyuan_v1_moe", frame, (_, prefix) => ({
    aroundMixer: preNorm(`${prefix}input_layernorm.weight`, frame),
    mixer: {
      ...groupedQueryAttention(`${prefix}self_attn.`, frame, rope, { bias }),
      ...headNorms(`${prefix}self_attn.`, headSize, frame.epsilon, ["query_layernorm", "key_layernorm"]),
      normsRotated: true,
    },
    aroundFeedForward: preNorm(`${prefix}post_attention_layernorm.weight`, frame),
    feedForward: {
      kind: "moe",
      activation: frame.activation,
      router: { weight: `${prefix}mlp.gate.wg.weight`, scores: "softmax", topK: frame.topK, normalise: true },
      experts: readExperts(`${prefix}mlp.experts.`, width, frame),
      shared: gatedBlock(`${prefix}mlp.shared_mlp.`, width, frame),
    },
  }));
}

/** "dynamic" with an `alpha` is a fixed embedding here, whose base is theta alpha^(d / (d - 2)). */
function readAlphaRope(config: ConfigReader, headSize: number): RopeDescription {
  const rope = readRope(config, headSize, 10_000);
  const alpha = config.object("rope_parameters", "rope_scaling")?.number("alpha", 0) ?? 0;
  if (rope.scaling.kind !== "dynamic" || alpha === 0) return rope;
  return { ...rope, theta: rope.theta * alpha ** (headSize / (headSize - 2)), scaling: { kind: "default" } };
}
