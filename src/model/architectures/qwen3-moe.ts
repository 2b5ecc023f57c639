import type { Activation } from "../../engine/backend.js";
import { readActivation } from "../activation.js";
import { type ConfigReader, MOST_EXPERTS, MOST_LAYERS } from "../config.js";
import type {
  AttentionDescription,
  DenseDescription,
  LayerDescription,
  ModelDescription,
  MoeDescription,
} from "../description.js";
import { separateExperts } from "../expert-storage.js";
import { readRope } from "../rope.js";

/**
 * Qwen3-MoE: pre-norm decoder, grouped-query attention with RMS norm on each query and key head, softmax router with
 * optional renormalisation over the top k, no shared expert. Layer l is MoE where (l + 1) is a multiple of
 * `decoder_sparse_step` and l is not in `mlp_only_layers`.
 */
export function describeQwen3Moe(config: ConfigReader): ModelDescription {
  const hidden = config.count("hidden_size");
  const layers = config.count("num_hidden_layers", undefined, MOST_LAYERS);
  const experts = config.count(["num_experts", "num_local_experts"], undefined, MOST_EXPERTS);
  const topK = config.count("num_experts_per_tok");
  const dense = new Set(config.integers("mlp_only_layers"));
  const sparseStep = config.number("decoder_sparse_step", 1);
  const activation = readActivation(config);
  const isMoeLayer = (layer: number) => !dense.has(layer) && sparseStep > 0 && (layer + 1) % sparseStep === 0;

  return {
    family: "qwen3_moe",
    hiddenSize: hidden,
    vocabularySize: config.count("vocab_size"),
    maxPositions: config.count("max_position_embeddings"),
    normEpsilon: config.number("rms_norm_eps", 1e-6),
    embedding: "model.embed_tokens.weight",
    finalNorm: "model.norm.weight",
    outputHead: config.boolean("tie_word_embeddings", false) ? "model.embed_tokens.weight" : "lm_head.weight",
    experts,
    topK,
    layers: Array.from({ length: layers }, (_, index): LayerDescription => {
      const prefix = `model.layers.${index}.`;
      return {
        index,
        prefix,
        attentionNorm: `${prefix}input_layernorm.weight`,
        attention: describeAttention(config, prefix, hidden),
        feedForwardNorm: `${prefix}post_attention_layernorm.weight`,
        feedForward: isMoeLayer(index)
          ? describeMoe(config, prefix, { hidden, experts, topK, activation })
          : describeDense(config, prefix, hidden, activation),
      };
    }),
  };
}

function describeAttention(config: ConfigReader, prefix: string, hidden: number): AttentionDescription {
  const heads = config.count("num_attention_heads");
  const keyValueHeads = config.count("num_key_value_heads", heads);
  const headSize = config.count("head_dim", Math.floor(hidden / heads));
  const bias = config.boolean("attention_bias", false);
  const projection = (name: string, shape: readonly [number, number]) => ({
    weight: `${prefix}self_attn.${name}.weight`,
    shape,
    ...(bias ? { bias: `${prefix}self_attn.${name}.bias` } : {}),
  });
  return {
    kind: "grouped-query",
    heads,
    keyValueHeads,
    headSize,
    scale: headSize ** -0.5,
    // transformers ignores sliding_window unless use_sliding_window is set, and applies it to every layer if it is.
    window: config.boolean("use_sliding_window", false) ? config.count("sliding_window", 4096) : undefined,
    rope: readRope(config, headSize, 10_000),
    query: projection("q_proj", [heads * headSize, hidden]),
    key: projection("k_proj", [keyValueHeads * headSize, hidden]),
    value: projection("v_proj", [keyValueHeads * headSize, hidden]),
    output: projection("o_proj", [hidden, heads * headSize]),
    queryNorm: `${prefix}self_attn.q_norm.weight`,
    keyNorm: `${prefix}self_attn.k_norm.weight`,
  };
}

function describeDense(config: ConfigReader, prefix: string, hidden: number, activation: Activation): DenseDescription {
  const width = config.count("intermediate_size");
  return {
    kind: "dense",
    activation,
    gate: { weight: `${prefix}mlp.gate_proj.weight`, shape: [width, hidden] },
    up: { weight: `${prefix}mlp.up_proj.weight`, shape: [width, hidden] },
    down: { weight: `${prefix}mlp.down_proj.weight`, shape: [hidden, width] },
  };
}

function describeMoe(
  config: ConfigReader,
  prefix: string,
  sizes: { hidden: number; experts: number; topK: number; activation: Activation },
): MoeDescription {
  return {
    kind: "moe",
    activation: sizes.activation,
    router: {
      weight: `${prefix}mlp.gate.weight`,
      scores: "softmax",
      topK: sizes.topK,
      normalise: config.boolean("norm_topk_prob", false),
    },
    experts: separateExperts({
      count: sizes.experts,
      width: config.count("moe_intermediate_size"),
      hidden: sizes.hidden,
      name: (expert, part) => `${prefix}mlp.experts.${expert}.${part}_proj.weight`,
    }),
  };
}
