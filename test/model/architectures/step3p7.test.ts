import { expect, test } from "vitest";
import type { JsonObject } from "../../../src/checkpoint/json.js";
import { describeModel } from "../../../src/model/describe.js";

const COMMON = {
  ...{
    hidden_size: 48,
    intermediate_size: 40,
    num_hidden_layers: 3,
    num_attention_heads: 4,
    head_dim: 12,
    vocab_size: 80,
  },
  ...{ max_position_embeddings: 128, moe_intermediate_size: 24, share_expert_dim: 20, sliding_window: 5 },
  ...{ moe_router_scaling_factor: 1.3, swiglu_limits: [0, 0.5, null], swiglu_limits_shared: [0.25, 0, 0, 9] },
};

/** As the hub has it: lists that count the layer for multi-token prediction, and other names. */
const HUB: JsonObject = {
  ...{ ...COMMON, moe_num_experts: 6, moe_top_k: 2, num_attention_groups: 2, moe_layers_enum: "1,2" },
  layer_types: ["full_attention", "sliding_attention", "sliding_attention", "sliding_attention"],
  num_nextn_predict_layers: 1,
  attention_other_setting: { num_attention_heads: 6, num_attention_groups: 2 },
  ...{ rope_theta: [5e4, 100, 100, 100], partial_rotary_factors: [0.5, 1, 1, 1] },
  rope_scaling: { rope_type: "linear", factor: 4 },
};

/** As transformers 5.23 writes the same. */
const WRITTEN: JsonObject = {
  ...{ ...COMMON, n_routed_experts: 6, num_experts_per_tok: 2, num_key_value_heads: 2 },
  ...{ layer_types: ["full_attention", "sliding_attention", "sliding_attention"], num_sliding_attention_heads: 6 },
  mlp_layer_types: ["dense", "sparse", "sparse"],
  rope_parameters: {
    full_attention: { rope_type: "linear", factor: 4, rope_theta: 5e4, partial_rotary_factor: 0.5 },
    sliding_attention: { rope_type: "default", rope_theta: 100, partial_rotary_factor: 1 },
  },
};

const described = (text: JsonObject) => describeModel({ model_type: "step3p7", text_config: text });

test("a config of the hub means what transformers makes of it", () => {
  const model = described(HUB);
  expect(model.layers.map(({ feedForward }) => feedForward.kind)).toEqual(["dense", "moe", "moe"]);
  expect(JSON.stringify(model)).toBe(JSON.stringify(described(WRITTEN)));
});

test("limits are of each layer, and none where they are 0 or null", () => {
  const [dense, limited, free] = described(HUB).layers.map(({ feedForward }) => feedForward);
  expect(dense).toMatchObject({ activation: { kind: "clamped_silu", limit: 0.25 } });
  expect(limited).toMatchObject({ activation: { kind: "clamped_silu", limit: 0.5 }, shared: { activation: "silu" } });
  expect(free).toMatchObject({ activation: "silu" });
});

test.each([{ swiglu_limits: [0, -1, 0] }, { swiglu_limits: ["x", "x", "x"] }, { mlp_bias: true }])(
  "%j is refused",
  (changes) => {
    expect(() => described({ ...HUB, ...changes })).toThrow(/swiglu_limits|mlp_bias/);
  },
);
