import { expect, test } from "vitest";
import { describeModel } from "../../../src/model/describe.js";
import { expectCode } from "../../checkpoint/support.js";

const SIZES = {
  ...{ vocab_size: 64, hidden_size: 32, intermediate_size: 16, num_attention_heads: 4, num_key_value_heads: 2 },
  ...{ head_dim: 8, moe_intermediate_size: 8, max_position_embeddings: 64 },
};

const NEMOTRON = {
  ...{ ...SIZES, model_type: "nemotron_h", num_hidden_layers: 5, hybrid_override_pattern: "MEM*-" },
  ...{ mamba_num_heads: 4, mamba_head_dim: 8, n_groups: 2, ssm_state_size: 6, conv_kernel: 4 },
  ...{ n_routed_experts: 4, num_experts_per_tok: 2, moe_shared_expert_intermediate_size: 8, mlp_hidden_act: "relu2" },
};

test("the letters of Nemotron-H's pattern are one block each", async () => {
  const model = describeModel(NEMOTRON);
  expect(model.layers.map(({ mixer, feedForward }) => [mixer.kind, feedForward.kind])).toEqual([
    ["mamba", "none"],
    ["none", "moe"],
    ["mamba", "none"],
    ["attention", "none"],
    ["none", "dense"],
  ]);
  expect(model.embedding).toBe("backbone.embeddings.weight");
  await expectCode("CONFIG_UNSUPPORTED", () => describeModel({ ...NEMOTRON, hybrid_override_pattern: "MEX" }));
  await expectCode("CONFIG_UNSUPPORTED", () => describeModel({ ...NEMOTRON, mlp_hidden_act: "silu" }));
});

test("Granite's hybrids in the hub's spelling, and limits of time steps", async () => {
  const config = {
    ...{ ...SIZES, model_type: "granitemoehybrid", num_hidden_layers: 2, num_local_experts: 4, num_experts_per_tok: 2 },
    ...{ mamba_n_heads: 8, mamba_d_state: 6, mamba_d_head: "auto", position_embedding_type: "nope" },
  };
  const mixers = (changes: object) =>
    describeModel({ ...config, layer_types: ["mamba", "attention"], ...changes }).layers.map(({ mixer }) => mixer);
  expect(mixers({})).toMatchObject([{ kind: "mamba", headSize: 8, timeLimit: [0, Infinity] }, { kind: "attention" }]);
  expect(mixers({ time_step_limit: [0.5, { __float__: "Infinity" }] })[0]).toMatchObject({
    timeLimit: [0.5, Infinity],
  });
  expect(mixers({ time_step_limit: [0, 2] })[0]).toMatchObject({ timeLimit: [0, 2] });
  await expectCode("CONFIG_UNSUPPORTED", () => mixers({ time_step_limit: "long" }));
  await expectCode("CONFIG_UNSUPPORTED", () => mixers({ position_embedding_type: "alibi" }));
});

test("Kimi Linear in the hub's spelling: layers are counted from 1", () => {
  const config = {
    ...{ ...SIZES, model_type: "kimi_linear", num_hidden_layers: 3, model_max_length: 64, num_experts: 4 },
    ...{ num_experts_per_token: 2, kv_lora_rank: 8, qk_nope_head_dim: 6, qk_rope_head_dim: 4, v_head_dim: 6 },
    ...{ first_k_dense_replace: 1, moe_renormalize: true, num_shared_experts: 1, mla_use_nope: true },
    linear_attn_config: {
      ...{ full_attn_layers: [2], kda_layers: [1, 3], head_dim: 5, num_heads: 3, short_conv_kernel_size: 4 },
    },
  };
  const model = describeModel(config);
  expect(model.layers.map(({ mixer, feedForward }) => [mixer.kind, feedForward.kind])).toEqual([
    ["channel-delta-rule", "dense"],
    ["latent-attention", "moe"],
    ["channel-delta-rule", "moe"],
  ]);
  expect(model.layers[0]!.mixer).toMatchObject({ heads: 3, headSize: 5, kernel: 4 });
  expect(model.layers[1]!.mixer).toMatchObject({ rope: undefined });
});

test("DBRX's keys, and a power of its weights that is not implemented", async () => {
  const config = {
    ...{ model_type: "dbrx", d_model: 32, n_heads: 4, n_layers: 2, max_seq_len: 64, vocab_size: 64 },
    attn_config: { kv_n_heads: 2, clip_qkv: 8, rope_theta: 500_000 },
    ffn_config: { ffn_hidden_size: 8, moe_num_experts: 4, moe_top_k: 2 },
  };
  const model = describeModel(config);
  expect(model).toMatchObject({ experts: 4, topK: 2, maxPositions: 64, embedding: "transformer.wte.weight" });
  expect(model.layers[1]).toMatchObject({
    prefix: "transformer.blocks.1.",
    mixer: { clip: 8, keyValueHeads: 2, rope: { theta: 500_000 }, key: { rows: [[32, 48]] } },
  });
  const squared = { ...config, ffn_config: { ...config.ffn_config, moe_normalize_expert_weights: 2 } };
  await expectCode("CONFIG_UNSUPPORTED", () => describeModel(squared));
});
