import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { buildIndex } from "../../src/checkpoint/output.js";
import { encodeSafetensors } from "../../src/checkpoint/safetensors-encode.js";
import type { Tensor } from "../../src/checkpoint/tensor.js";
import { Random } from "../../src/random.js";

export interface SyntheticSizes {
  readonly layers: number;
  readonly hidden: number;
  readonly width: number;
  readonly experts: number;
  readonly topK: number;
  readonly vocabulary: number;
}

/** Writes a Qwen3-MoE checkpoint of random bfloat16 weights, one shard for each layer; returns the bytes of a layer. */
export function writeSyntheticModel(folder: string, sizes: SyntheticSizes): number {
  const { layers, hidden, width, experts, topK, vocabulary } = sizes;
  const [heads, headSize] = [4, 16];
  mkdirSync(folder, { recursive: true });
  const config = {
    ...{ architectures: ["Qwen3MoeForCausalLM"], model_type: "qwen3_moe", torch_dtype: "bfloat16", hidden_act: "silu" },
    ...{ vocab_size: vocabulary, hidden_size: hidden, num_hidden_layers: layers, num_attention_heads: heads },
    ...{ num_key_value_heads: 2, head_dim: headSize, intermediate_size: width, moe_intermediate_size: width },
    ...{
      num_experts: experts,
      num_experts_per_tok: topK,
      norm_topk_prob: true,
      rms_norm_eps: 1e-6,
      rope_theta: 10_000,
    },
    ...{ max_position_embeddings: 512, tie_word_embeddings: true },
  };
  writeFileSync(join(folder, "config.json"), JSON.stringify(config, null, 2));
  const random = new Random(1);
  /** Random bfloat16 between 2^-7 and 2^-5 in size: made from one block of noise, for speed. */
  const noise = Uint16Array.from({ length: 65_536 }, () => (0x3c00 + random.below(256)) | (random.below(2) << 15));
  const matrix = (...shape: number[]): Tensor => {
    const values = new Uint16Array(shape.reduce((a, b) => a * b));
    const offset = random.below(noise.length);
    for (let at = -offset; at < values.length; at += noise.length) {
      if (at >= 0) values.set(noise.subarray(0, Math.min(noise.length, values.length - at)), at);
      else values.set(noise.subarray(-at, Math.min(noise.length, values.length - at)), 0);
    }
    return { dtype: "BF16", shape, data: new Uint8Array(values.buffer) };
  };
  const ones = (size: number): Tensor => ({
    dtype: "BF16",
    shape: [size],
    data: new Uint8Array(new Uint16Array(size).fill(0x3f80).buffer),
  });
  const index: { name: string; dtype: "BF16"; shape: readonly number[]; file: string }[] = [];
  const write = (file: string, tensors: Map<string, Tensor>) => {
    const bytes = encodeSafetensors(tensors, { format: "pt" });
    writeFileSync(join(folder, file), bytes);
    for (const [name, { shape }] of tensors) index.push({ name, dtype: "BF16", shape, file });
    return bytes.length;
  };
  write(
    "model-00000.safetensors",
    new Map([
      ["model.embed_tokens.weight", matrix(vocabulary, hidden)],
      ["model.norm.weight", ones(hidden)],
    ]),
  );
  let layerBytes = 0;
  for (let l = 0; l < layers; l++) {
    const tensors = new Map<string, Tensor>();
    const name = (rest: string) => `model.layers.${l}.${rest}.weight`;
    for (const norm of ["input_layernorm", "post_attention_layernorm"]) tensors.set(name(norm), ones(hidden));
    for (const norm of ["q_norm", "k_norm"]) tensors.set(name(`self_attn.${norm}`), ones(headSize));
    tensors.set(name("self_attn.q_proj"), matrix(heads * headSize, hidden));
    tensors.set(name("self_attn.k_proj"), matrix(2 * headSize, hidden));
    tensors.set(name("self_attn.v_proj"), matrix(2 * headSize, hidden));
    tensors.set(name("self_attn.o_proj"), matrix(hidden, heads * headSize));
    tensors.set(name("mlp.gate"), matrix(experts, hidden));
    for (let e = 0; e < experts; e++) {
      tensors.set(name(`mlp.experts.${e}.gate_proj`), matrix(width, hidden));
      tensors.set(name(`mlp.experts.${e}.up_proj`), matrix(width, hidden));
      tensors.set(name(`mlp.experts.${e}.down_proj`), matrix(hidden, width));
    }
    layerBytes = write(`model-${String(l + 1).padStart(5, "0")}.safetensors`, tensors);
  }
  writeFileSync(join(folder, "model.safetensors.index.json"), buildIndex(index));
  return layerBytes;
}
