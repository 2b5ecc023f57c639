import { ConfigReader } from "../config.js";
import type { ModelDescription, Norm, Projection } from "../description.js";
import { readRope } from "../rope.js";
import { blockExperts } from "../storage/blocks.js";
import {
  describeDecoder,
  expectOption,
  groupedQueryAttention,
  linear,
  readFrame,
  readHeads,
  refuseOption,
  type TensorNames,
} from "./parts.js";

/** The epsilon of PyTorch's layer norms, which no key changes. */
const EPSILON = 1e-5;

/** DBRX: layer norms without biases, one clipped matrix for queries, keys and values, experts in one matrix of each kind. */
export function describeDbrx(outer: ConfigReader, tensors: TensorNames): ModelDescription {
  const attention = outer.object("attn_config") ?? new ConfigReader({});
  const blocks = outer.object("ffn_config") ?? new ConfigReader({});
  const config = customary(outer, attention, blocks);
  const frame = readFrame(config, tensors);
  const { hidden, experts: count, topK, activation } = frame;
  const { heads, keyValueHeads, headSize } = readHeads(frame);
  const rope = readRope(config, headSize, 10_000);
  const clip = attention.has("clip_qkv") ? attention.number("clip_qkv") : undefined;
  const width = blocks.count("ffn_hidden_size", 3584);
  const norm = (name: string): Norm => ({ kind: "layer", size: hidden, epsilon: EPSILON, weight: `${name}.weight` });
  const [queries, keys] = [heads * headSize, keyValueHeads * headSize];
  const prefix = "transformer.";
  return describeDecoder(
    "dbrx",
    frame,
    (_, layer) => {
      const stored = linear(`${layer}norm_attn_norm.attn.Wqkv`, [queries + 2 * keys, hidden]);
      const rows = (begin: number, end: number): Projection => ({ ...stored, rows: [[begin, end]] });
      return {
        aroundMixer: { inputNorm: norm(`${layer}norm_attn_norm.norm_1`) },
        mixer: {
          ...groupedQueryAttention(`${layer}norm_attn_norm.attn.`, frame, rope, { output: "out_proj" }),
          query: rows(0, queries),
          key: rows(queries, queries + keys),
          value: rows(queries + keys, queries + 2 * keys),
          clip,
        },
        aroundFeedForward: { inputNorm: norm(`${layer}norm_attn_norm.norm_2`) },
        feedForward: {
          kind: "moe",
          activation,
          router: { weight: `${layer}ffn.router.layer.weight`, scores: "softmax", topK, normalise: normalised(blocks) },
          experts: blockExperts({
            ...{ count, width, hidden },
            names: {
              gate: `${layer}ffn.experts.mlp.w1`,
              up: `${layer}ffn.experts.mlp.v1`,
              down: `${layer}ffn.experts.mlp.w2`,
            },
          }),
        },
      };
    },
    { prefix, stack: "blocks", embedding: `${prefix}wte.weight`, finalNorm: norm(`${prefix}norm_f`) },
  );
}

/** The config in the keys that other families have. */
function customary(outer: ConfigReader, attention: ConfigReader, blocks: ConfigReader): ConfigReader {
  expectOption(outer, "tie_word_embeddings", [false]);
  const rotary = outer.values.rope_parameters ?? { rope_theta: attention.number("rope_theta", 10_000) };
  const name = blocks.object("ffn_act_fn")?.string("name", "silu");
  return new ConfigReader({
    hidden_size: outer.values.d_model,
    num_hidden_layers: outer.values.n_layers,
    num_attention_heads: outer.values.n_heads,
    num_key_value_heads: attention.count("kv_n_heads", 1),
    max_position_embeddings: outer.values.max_seq_len,
    vocab_size: outer.values.vocab_size,
    rope_parameters: rotary,
    hidden_act: name ?? "silu",
    num_experts: blocks.count("moe_num_experts", 4),
    num_experts_per_tok: blocks.count("moe_top_k", 1),
  });
}

/** Weights are divided by their sum, the norm with p = 1, or stay as they are. */
function normalised(blocks: ConfigReader): boolean {
  const power = blocks.values.moe_normalize_expert_weights;
  if (power !== undefined && power !== null && power !== 1)
    refuseOption("moe_normalize_expert_weights", power, [1, null]);
  return power !== null;
}
