import type { ConfigReader } from "../config.js";
import type { ModelDescription } from "../description.js";
import type { AttentionDescription } from "../mixers/descriptions.js";
import { readRope, ropeOfType } from "../rope.js";
import {
  denseBlock,
  describeDecoder,
  expectOption,
  type Frame,
  gatedBlock,
  headNorms,
  layerTypes,
  linear,
  preNorm,
  readExperts,
  readFrame,
  sparseByType,
  type TensorNames,
} from "./parts.js";

const TYPES = ["full_attention", "sliding_attention"] as const;

/**
 * Laguna: attention whose output is multiplied by a softplus gate of each head, with other numbers of heads and other angles
 * in layers with a window; sigmoid router with a correction bias, a shared expert.
 */
export function describeLaguna(config: ConfigReader, tensors: TensorNames): ModelDescription {
  expectOption(config, "gating", [true, "per-head", "per-element"]);
  expectOption(config, "moe_apply_router_weight_on_input", [false]);
  expectOption(config, "moe_router_logit_softcapping", [0]);
  const frame = readFrame(config, tensors);
  const types = layerTypes(frame, TYPES, () => "full_attention");
  const isSparse = sparseByType(frame, 1);
  return describeDecoder("laguna", frame, (index, prefix) => ({
    aroundMixer: preNorm(`${prefix}input_layernorm.weight`, frame),
    mixer: attention(`${prefix}self_attn.`, frame, index, types[index]!),
    aroundFeedForward: preNorm(`${prefix}post_attention_layernorm.weight`, frame),
    feedForward: isSparse(index)
      ? {
          kind: "moe",
          activation: frame.activation,
          router: {
            weight: `${prefix}mlp.gate.weight`,
            selectionBias: `${prefix}mlp.experts.e_score_correction_bias`,
            scores: "sigmoid",
            topK: frame.topK,
            normalise: true,
            scale: config.number("moe_routed_scaling_factor", 1),
          },
          experts: readExperts(`${prefix}mlp.experts.`, config.count("moe_intermediate_size", 512), frame),
          shared: gatedBlock(
            `${prefix}mlp.shared_expert.`,
            config.count("shared_expert_intermediate_size", 512),
            frame,
          ),
        }
      : denseBlock(prefix, frame),
  }));
}

function attention(
  prefix: string,
  { config, hidden, epsilon }: Frame,
  index: number,
  type: (typeof TYPES)[number],
): AttentionDescription {
  const listed = config.integers("num_attention_heads_per_layer");
  const heads = listed[index] ?? config.count("num_attention_heads");
  const keyValueHeads = config.count("num_key_value_heads", 8);
  const headSize = config.count("head_dim", 128);
  const bias = config.boolean("attention_bias", false);
  const sliding = type === "sliding_attention";
  const perHead = config.values.gating !== "per-element";
  return {
    kind: "attention",
    ...{ heads, keyValueHeads, headSize, scale: headSize ** -0.5 },
    rope: readRope(ropeOfType(config, type), headSize, sliding ? 10_000 : 500_000, { partial: sliding ? 1 : 0.5 }),
    query: linear(`${prefix}q_proj`, [heads * headSize, hidden], bias),
    key: linear(`${prefix}k_proj`, [keyValueHeads * headSize, hidden], bias),
    value: linear(`${prefix}v_proj`, [keyValueHeads * headSize, hidden], bias),
    output: linear(`${prefix}o_proj`, [hidden, heads * headSize], bias),
    ...headNorms(prefix, headSize, epsilon),
    gate: linear(`${prefix}g_proj`, [perHead ? heads : heads * headSize, hidden]),
    gateActivation: "softplus",
    window: sliding ? config.count("sliding_window", 512) : undefined,
  };
}
