import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { buildIndex } from "../src/checkpoint/output.js";
import { encodeSafetensors } from "../src/checkpoint/safetensors-encode.js";
import type { Tensor } from "../src/checkpoint/tensor.js";
import { Random } from "../src/random.js";

/** Sizes of a Qwen3-MoE model. */
export interface ModelSizes {
  readonly layers: number;
  readonly hidden: number;
  readonly heads: number;
  readonly keyValueHeads: number;
  readonly headSize: number;
  readonly experts: number;
  readonly topK: number;
  readonly width: number;
  readonly vocabulary: number;
}

/** The model that is measured: 4.33 B weights, 1.04 B of them active. */
export const SIZES: ModelSizes = {
  ...{ layers: 16, hidden: 2048, heads: 16, keyValueHeads: 4, headSize: 128 },
  ...{ experts: 40, topK: 8, width: 1024, vocabulary: 32_000 },
};

/** Numbers of all weights, and of those that one token touches: all but the experts not chosen and the embedding. */
export function countWeights(sizes: ModelSizes): { readonly all: number; readonly active: number } {
  const { layers, hidden, heads, keyValueHeads, headSize, experts, topK, width, vocabulary } = sizes;
  const attention = 2 * hidden * headSize * (heads + keyValueHeads);
  const expert = 3 * hidden * width;
  const perLayer = (count: number) => attention + hidden * experts + count * expert;
  const head = vocabulary * hidden;
  return { all: layers * perLayer(experts) + 2 * head, active: layers * perLayer(topK) + head };
}

/** Of the noise that all weights are cut from. A prime: no two rows of a matrix are equal. */
const NOISE = 1_048_573;

/**
 * Writes a checkpoint of random bfloat16 weights, one shard for each layer.
 * @param router makes the router of a layer `[experts, hidden]`; undefined: noise like all else
 */
export function writeModel(folder: string, sizes: ModelSizes, router?: (layer: number) => Tensor): void {
  const { layers, hidden, heads, keyValueHeads, headSize, experts, topK, width, vocabulary } = sizes;
  mkdirSync(folder, { recursive: true });
  const config = {
    ...{ architectures: ["Qwen3MoeForCausalLM"], model_type: "qwen3_moe", torch_dtype: "bfloat16", hidden_act: "silu" },
    ...{ vocab_size: vocabulary, hidden_size: hidden, num_hidden_layers: layers, num_attention_heads: heads },
    ...{ num_key_value_heads: keyValueHeads, head_dim: headSize, intermediate_size: width },
    ...{ moe_intermediate_size: width, num_experts: experts, num_experts_per_tok: topK, norm_topk_prob: true },
    ...{ rms_norm_eps: 1e-6, rope_theta: 10_000, max_position_embeddings: 4096, tie_word_embeddings: false },
    ...{ attention_bias: false, decoder_sparse_step: 1, mlp_only_layers: [] },
  };
  writeFileSync(join(folder, "config.json"), JSON.stringify(config, null, 2));
  const random = new Random(1);
  // Between 2^-7 and 2^-5 in size, about what keeps activations of 2048 numbers in their range.
  const noise = Uint16Array.from({ length: NOISE }, () => (0x3c00 + random.below(256)) | (random.below(2) << 15));
  const matrix = (...shape: number[]): Tensor => {
    const values = new Uint16Array(shape.reduce((a, b) => a * b));
    for (let at = 0, from = random.below(NOISE); at < values.length; from = 0) {
      const count = Math.min(NOISE - from, values.length - at);
      values.set(noise.subarray(from, from + count), at);
      at += count;
    }
    return { dtype: "BF16", shape, data: new Uint8Array(values.buffer) };
  };
  const ones = (size: number): Tensor => {
    return { dtype: "BF16", shape: [size], data: new Uint8Array(new Uint16Array(size).fill(0x3f80).buffer) };
  };
  const index: { name: string; dtype: "BF16"; shape: readonly number[]; file: string }[] = [];
  const write = (file: string, tensors: ReadonlyMap<string, Tensor>) => {
    writeFileSync(join(folder, file), encodeSafetensors(tensors, { format: "pt" }));
    for (const [name, { shape }] of tensors) index.push({ name, dtype: "BF16", shape, file });
  };
  write(
    "model-head.safetensors",
    new Map([
      ["model.embed_tokens.weight", matrix(vocabulary, hidden)],
      ["lm_head.weight", matrix(vocabulary, hidden)],
      ["model.norm.weight", ones(hidden)],
    ]),
  );
  for (let l = 0; l < layers; l++) {
    const tensors = new Map<string, Tensor>();
    const set = (rest: string, tensor: Tensor) => tensors.set(`model.layers.${l}.${rest}.weight`, tensor);
    for (const norm of ["input_layernorm", "post_attention_layernorm"]) set(norm, ones(hidden));
    for (const norm of ["q_norm", "k_norm"]) set(`self_attn.${norm}`, ones(headSize));
    set("self_attn.q_proj", matrix(heads * headSize, hidden));
    set("self_attn.k_proj", matrix(keyValueHeads * headSize, hidden));
    set("self_attn.v_proj", matrix(keyValueHeads * headSize, hidden));
    set("self_attn.o_proj", matrix(hidden, heads * headSize));
    set("mlp.gate", router?.(l) ?? matrix(experts, hidden));
    for (let e = 0; e < experts; e++) {
      set(`mlp.experts.${e}.gate_proj`, matrix(width, hidden));
      set(`mlp.experts.${e}.up_proj`, matrix(width, hidden));
      set(`mlp.experts.${e}.down_proj`, matrix(hidden, width));
    }
    write(`model-${l}.safetensors`, tensors);
  }
  writeFileSync(join(folder, "model.safetensors.index.json"), buildIndex(index));
}
