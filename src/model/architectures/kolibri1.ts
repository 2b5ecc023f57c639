import { ConfigReader } from "../config.js";
import type { ModelDescription } from "../description.js";
import { readRope } from "../rope.js";
import {
  describeDecoder,
  gatedBlock,
  groupedQueryAttention,
  headNorms,
  layerTypes,
  readExperts,
  readFrame,
  readHeads,
  refuseOption,
  rmsNorm,
  type TensorNames,
} from "./parts.js";

/**
 * Kolibri: normed heads, a window and positions in most layers, neither in the others; norms before and after each block; a
 * router that chooses by its logits and a correction bias, and weighs by their sigmoid.
 */
export function describeKolibri1(stored: ConfigReader, tensors: TensorNames): ModelDescription {
  const config = new ConfigReader({ head_dim: 128, ...stored.values });
  if (config.values.sliding_window === null) refuseOption("sliding_window", null, ["a number"]);
  const frame = readFrame(config, tensors);
  const { hidden, epsilon } = frame;
  const { headSize } = readHeads(frame);
  const rope = readRope(config, headSize, 10_000);
  const types = layerTypes(frame, ["full_attention", "sliding_attention"], (layer) =>
    (layer + 1) % 5 === 0 ? "full_attention" : "sliding_attention",
  );
  const norm = (name: string) => rmsNorm(`${name}.weight`, hidden, epsilon);
  return describeDecoder("kolibri1", frame, (index, prefix) => {
    const sliding = types[index] === "sliding_attention";
    return {
      aroundMixer: {
        inputNorm: norm(`${prefix}input_layernorm`),
        outputNorm: norm(`${prefix}post_attn_norm`),
      },
      mixer: {
        ...groupedQueryAttention(`${prefix}self_attn.`, frame, sliding ? rope : undefined),
        ...headNorms(`${prefix}self_attn.`, headSize, epsilon),
        window: sliding ? config.count("sliding_window", 513) : undefined,
      },
      aroundFeedForward: {
        inputNorm: norm(`${prefix}post_attention_layernorm`),
        outputNorm: norm(`${prefix}post_ffn_norm`),
      },
      feedForward: {
        kind: "moe",
        activation: frame.activation,
        router: {
          weight: `${prefix}mlp.gate.weight`,
          selectionBias: `${prefix}moe.router.expert_bias`,
          scores: "sigmoid",
          chooseBy: "logits",
          topK: frame.topK,
          normalise: config.boolean("norm_topk_prob", false),
        },
        experts: readExperts(`${prefix}mlp.experts.`, config.count("moe_intermediate_size", 512), frame),
        shared: gatedBlock(`${prefix}mlp.shared_experts.`, config.count("shared_expert_intermediate_size", 512), frame),
      },
    };
  });
}
