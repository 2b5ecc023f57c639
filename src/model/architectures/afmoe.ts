import type { ConfigReader } from "../config.js";
import type { ModelDescription, Sublayer } from "../description.js";
import { readRope } from "../rope.js";
import {
  denseBlock,
  describeDecoder,
  expectOption,
  gatedBlock,
  groupedQueryAttention,
  headNorms,
  layerTypes,
  linear,
  readExperts,
  readFrame,
  readHeads,
  rmsNorm,
  type TensorNames,
} from "./parts.js";

/**
 * AFMoE (Trinity): norms before and after each block; gated attention, rotated in the layers with a window alone; sigmoid
 * router with a correction bias, shared experts, the first layers dense.
 */
export function describeAfmoe(config: ConfigReader, tensors: TensorNames): ModelDescription {
  expectOption(config, "score_func", ["sigmoid"]);
  expectOption(config, "route_norm", [true]);
  expectOption(config, "n_group", [1]);
  const frame = readFrame(config, tensors, { defaultEpsilon: 1e-5 });
  const { hidden, epsilon } = frame;
  const { heads, headSize } = readHeads(frame);
  const rope = readRope(config, headSize, 10_000);
  const bias = config.boolean("attention_bias", false);
  const every = config.count("global_attn_every_n_layers", 4);
  const firstMoe = config.number("num_dense_layers", 1);
  const width = config.count("moe_intermediate_size");
  const shared = config.count("num_shared_experts", 2);
  const types = layerTypes(frame, ["full_attention", "sliding_attention"], (layer) =>
    (layer + 1) % every === 0 ? "full_attention" : "sliding_attention",
  );
  const around = (before: string, after: string): Sublayer => ({
    inputNorm: rmsNorm(`${before}.weight`, hidden, epsilon),
    outputNorm: rmsNorm(`${after}.weight`, hidden, epsilon),
  });
  return describeDecoder(
    "afmoe",
    frame,
    (index, prefix) => {
      const sliding = types[index] === "sliding_attention";
      return {
        aroundMixer: around(`${prefix}input_layernorm`, `${prefix}post_attention_layernorm`),
        mixer: {
          ...groupedQueryAttention(`${prefix}self_attn.`, frame, sliding ? rope : undefined, { bias }),
          ...headNorms(`${prefix}self_attn.`, headSize, epsilon),
          gate: linear(`${prefix}self_attn.gate_proj`, [heads * headSize, hidden]),
          window: sliding ? config.count("sliding_window", 1024) : undefined,
        },
        aroundFeedForward: around(`${prefix}pre_mlp_layernorm`, `${prefix}post_mlp_layernorm`),
        feedForward:
          index >= firstMoe
            ? {
                kind: "moe",
                activation: frame.activation,
                router: {
                  weight: `${prefix}mlp.router.gate.weight`,
                  selectionBias: `${prefix}mlp.expert_bias`,
                  scores: "sigmoid",
                  topK: frame.topK,
                  normalise: true,
                  epsilon: 1e-20,
                  scale: config.number("route_scale", 1),
                },
                experts: readExperts(`${prefix}mlp.experts.`, width, frame),
                shared: gatedBlock(`${prefix}mlp.shared_experts.`, width * shared, frame),
              }
            : denseBlock(prefix, frame),
      };
    },
    config.boolean("mup_enabled", false) ? { embeddingScale: Math.sqrt(hidden) } : {},
  );
}
