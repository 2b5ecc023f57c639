import type { ConfigReader } from "../config.js";
import type { ModelDescription } from "../description.js";
import { readRope } from "../rope.js";
import {
  denseBlock,
  describeDecoder,
  gatedBlock,
  groupedQueryAttention,
  preNorm,
  readExperts,
  readFrame,
  readHeads,
  type TensorNames,
} from "./parts.js";

/** ERNIE 4.5: adjacent rotary pairs, softmax router with a correction bias for the choice, shared experts. */
export function describeErnie45Moe(config: ConfigReader, tensors: TensorNames): ModelDescription {
  const frame = readFrame(config, tensors, { topK: "moe_k", defaultEpsilon: 1e-5 });
  const { layers } = frame;
  const rope = readRope(config, readHeads(frame).headSize, 500_000, { pairing: "adjacent" });
  const bias = config.boolean("use_bias", false);
  const width = config.count("moe_intermediate_size");
  const shared = config.number("moe_num_shared_experts", 2);
  const start = config.number("moe_layer_start_index", 1);
  const end = config.number("moe_layer_end_index", -1);
  const interval = config.count("moe_layer_interval", 1);
  const isMoe = (layer: number) =>
    (layer + 1) % interval === 0 && layer >= start && layer <= (end === -1 ? layers - 1 : end);
  const model = describeDecoder("ernie4_5_moe", frame, (index, prefix) => ({
    aroundMixer: preNorm(`${prefix}input_layernorm.weight`, frame),
    mixer: groupedQueryAttention(`${prefix}self_attn.`, frame, rope, { bias }),
    aroundFeedForward: preNorm(`${prefix}post_attention_layernorm.weight`, frame),
    feedForward: isMoe(index)
      ? {
          kind: "moe",
          activation: frame.activation,
          router: {
            weight: `${prefix}mlp.gate.weight`,
            selectionBias: `${prefix}mlp.moe_statics.e_score_correction_bias`,
            scores: "softmax",
            topK: frame.topK,
            normalise: true,
            floor: config.number("moe_norm_min", 1e-12),
          },
          experts: readExperts(`${prefix}mlp.experts.`, width, frame),
          ...(shared > 0
            ? { shared: gatedBlock(`${prefix}mlp.shared_experts.`, width * shared, frame, { bias }) }
            : {}),
        }
      : denseBlock(prefix, frame, { bias }),
  }));
  return bias ? { ...model, outputHead: { ...model.outputHead, bias: "lm_head.bias" } } : model;
}
