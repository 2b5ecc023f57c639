import { expect, test } from "vitest";
import { describeModel } from "../../../src/model/describe.js";
import { expectCode } from "../../checkpoint/support.js";

/** The hub's spelling of a small model. */
const HUB = {
  ...{ model_type: "mimo_v2_flash", vocab_size: 64, hidden_size: 32, num_hidden_layers: 3, intermediate_size: 16 },
  ...{ num_attention_heads: 4, num_key_value_heads: 1, head_dim: 12, v_head_dim: 8, max_position_embeddings: 64 },
  ...{ n_routed_experts: 4, num_experts_per_tok: 2, moe_intermediate_size: 8, n_shared_experts: null },
  ...{ hybrid_layer_pattern: [0, 1, 0], moe_layer_freq: [0, 1, 1], layernorm_epsilon: 1e-5 },
  ...{ sliding_window_size: 8, rope_theta: 5e6, swa_rope_theta: 1e4, partial_rotary_factor: 0.334 },
  ...{ routed_scaling_factor: null, attention_value_scale: 0.7, swa_num_key_value_heads: 2 },
};

test("layer types, windows and angles from the hub's keys", () => {
  const { layers } = describeModel(HUB);
  expect(layers.map(({ feedForward }) => feedForward.kind)).toEqual(["dense", "moe", "moe"]);
  expect(layers.map(({ mixer }) => mixer)).toMatchObject([
    { keyValueHeads: 1, valueSize: 8, valueScale: 0.7, rope: { theta: 5e6, rotary: 4 } },
    { window: 9, keyValueHeads: 2, sinks: "model.layers.1.self_attn.attention_sink_bias", rope: { theta: 1e4 } },
    { keyValueHeads: 1 },
  ]);
  expect([layers[0]!.mixer, layers[2]!.mixer].some((mixer) => "window" in mixer || "sinks" in mixer)).toBe(false);
});

test("heads that differ between the kinds of layers, and shared experts, are refused", async () => {
  await expectCode("CONFIG_UNSUPPORTED", () => describeModel({ ...HUB, swa_head_dim: 16 }));
  await expectCode("CONFIG_UNSUPPORTED", () => describeModel({ ...HUB, n_shared_experts: 1 }));
});
