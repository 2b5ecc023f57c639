import { ConfigReader } from "../config.js";
import type { ModelDescription, MoeDescription, Norm } from "../description.js";
import { readRope } from "../rope.js";
import {
  type DecoderLayer,
  describeDecoder,
  expectOption,
  type Frame,
  gatedBlock,
  groupedQueryAttention,
  layerTypes,
  MIXTRAL_NAMES,
  readExperts,
  readFrame,
  readHeads,
  sparseByType,
  type TensorNames,
} from "./parts.js";
import { plusOneNorm } from "./qwen-hybrid.js";

/**
 * The text model of MiniMax-M3: normed, partly rotated heads, clamped activations, sigmoid router with a correction bias, a
 * shared expert. An indexer chooses blocks of tokens that attention sees in most layers: up to so many blocks these are all,
 * and longer sequences are refused.
 */
export function describeMinimaxM3(outer: ConfigReader, tensors: TensorNames): ModelDescription {
  // Hub files name the activation "swigluoai"; transformers reads its numbers alone.
  const config = new ConfigReader({ ...(outer.object("text_config") ?? outer).values, hidden_act: "silu" });
  expectOption(config, "scoring_func", ["sigmoid"]);
  expectOption(config, "use_qk_norm", [true]);
  expectOption(config, "qk_norm_type", ["per_head"]);
  expectOption(config, "use_gemma_norm", [true]);
  const read = readFrame(config, tensors);
  const limits = { alpha: config.number("swiglu_alpha", 1.702), limit: config.number("swiglu_limit", 7) };
  const frame: Frame = { ...read, activation: { kind: "clamped_swiglu", ...limits } };
  const prefix = tensors.has("language_model.model.embed_tokens.weight") ? "language_model.model." : "model.";
  const sparse = sparseAttention(frame);
  return describeDecoder(outer.string("model_type"), frame, minimaxLayer(frame), {
    prefix,
    head: prefix === "model." ? "lm_head" : "language_model.lm_head",
    tied: outer.boolean("tie_word_embeddings", config.boolean("tie_word_embeddings", false)),
    finalNorm: plusOneNorm(`${prefix}norm.weight`, frame.hidden, frame.epsilon),
    ...(sparse === undefined ? {} : { exactPositions: sparse }),
  });
}

/** Tokens up to which the indexer chooses all; undefined: no layer has one. */
function sparseAttention(frame: Frame): number | undefined {
  const { config } = frame;
  const stored = config.object("sparse_attention_config");
  const types = layerTypes(frame, ["full_attention", "minimax_m3_sparse"], () => "full_attention");
  const listed = config.has("layer_types") ? [] : (stored?.integers("sparse_attention_freq") ?? []);
  if (!types.includes("minimax_m3_sparse") && !listed.some((sparse) => sparse !== 0)) return undefined;
  const size = stored?.has("sparse_block_size")
    ? stored.count("sparse_block_size")
    : config.count("index_block_size", 128);
  const blocks = stored?.has("sparse_topk_blocks")
    ? stored.count("sparse_topk_blocks")
    : config.count("index_topk_blocks", 16);
  return size * blocks;
}

function minimaxLayer(frame: Frame): (index: number, prefix: string) => DecoderLayer {
  const { config, hidden, epsilon } = frame;
  const { headSize } = readHeads(frame);
  const rope = readRope(config, headSize, 5e6, { partial: config.count("rotary_dim", 64) / headSize });
  const listed = config.has("mlp_layer_types") ? [] : config.integers("moe_layer_freq");
  const isSparse = listed.length > 0 ? (layer: number) => listed[layer] !== 0 : sparseByType(frame, 0);
  const norm = (name: string, size: number): Norm => plusOneNorm(`${name}.weight`, size, epsilon);
  return (index, prefix) => ({
    aroundMixer: { inputNorm: norm(`${prefix}input_layernorm`, hidden) },
    mixer: {
      ...groupedQueryAttention(`${prefix}self_attn.`, frame, rope),
      queryNorm: norm(`${prefix}self_attn.q_norm`, headSize),
      keyNorm: norm(`${prefix}self_attn.k_norm`, headSize),
    },
    aroundFeedForward: { inputNorm: norm(`${prefix}post_attention_layernorm`, hidden) },
    feedForward: isSparse(index)
      ? moe(`${prefix}block_sparse_moe.`, frame)
      : { kind: "dense", ...gatedBlock(`${prefix}mlp.`, config.count("dense_intermediate_size"), frame) },
  });
}

function moe(prefix: string, frame: Frame): MoeDescription {
  const { config, topK, activation } = frame;
  return {
    kind: "moe",
    activation,
    router: {
      weight: `${prefix}gate.weight`,
      selectionBias: `${prefix}e_score_correction_bias`,
      scores: "sigmoid",
      topK,
      normalise: true,
      scale: config.number("routed_scaling_factor", 1),
    },
    experts: readExperts(`${prefix}experts.`, config.count("intermediate_size"), frame, MIXTRAL_NAMES),
    shared: gatedBlock(`${prefix}shared_experts.`, config.count("shared_intermediate_size"), frame),
  };
}
