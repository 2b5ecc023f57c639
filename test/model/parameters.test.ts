import { expect, test } from "vitest";
import type { JsonObject } from "../../src/checkpoint/json.js";
import { describeModel } from "../../src/model/describe.js";
import { countParameters } from "../../src/model/parameters.js";
import { inspect } from "../../src/pipeline/inspect.js";
import { openModel } from "../../src/pipeline/open-model.js";
import { forwardCases } from "../support/goldens.js";

// Of the checkpoints on the hub: all numbers exactly where their pages tell them so, else in billions as they are called.
const PUBLISHED: [name: string, config: JsonObject, total: number, active: number, digits: number][] = [
  [
    "Qwen3-30B-A3B",
    {
      ...{ model_type: "qwen3_moe", hidden_size: 2048, intermediate_size: 6144, moe_intermediate_size: 768 },
      ...{ num_hidden_layers: 48, num_attention_heads: 32, num_key_value_heads: 4, head_dim: 128, vocab_size: 151936 },
      ...{ num_experts: 128, num_experts_per_tok: 8, max_position_embeddings: 40960, hidden_act: "silu" },
    },
    ...([30_532_122_624, 3.3, 1] as const),
  ],
  [
    "Mixtral 8x7B",
    {
      ...{
        model_type: "mixtral",
        hidden_size: 4096,
        intermediate_size: 14336,
        num_hidden_layers: 32,
        vocab_size: 32000,
      },
      ...{ num_attention_heads: 32, num_key_value_heads: 8, num_local_experts: 8, num_experts_per_tok: 2 },
      ...{ max_position_embeddings: 32768, hidden_act: "silu" },
    },
    ...([46_702_792_704, 12.9, 1] as const),
  ],
  [
    "DeepSeek-V3",
    {
      ...{ model_type: "deepseek_v3", hidden_size: 7168, intermediate_size: 18432, moe_intermediate_size: 2048 },
      ...{ num_hidden_layers: 61, num_attention_heads: 128, num_key_value_heads: 128, vocab_size: 129280 },
      ...{ n_routed_experts: 256, num_experts_per_tok: 8, n_shared_experts: 1, first_k_dense_replace: 3, n_group: 8 },
      ...{ topk_group: 4, q_lora_rank: 1536, kv_lora_rank: 512, qk_nope_head_dim: 128, qk_rope_head_dim: 64 },
      ...{ v_head_dim: 128, max_position_embeddings: 163840, hidden_act: "silu", routed_scaling_factor: 2.5 },
    },
    ...([671_026_419_200, 37, 0] as const),
  ],
];

test.each(PUBLISHED)("%s has the parameters that it is known for", (_, config, total, active, digits) => {
  const count = countParameters(describeModel(config));
  expect(count.total).toBe(total);
  expect(count.active / 1e9).toBeGreaterThan(active - 0.6 * 10 ** -digits);
  expect(count.active / 1e9).toBeLessThan(active + 0.6 * 10 ** -digits);
});

// Beside it, MiniMax's checkpoints hold decay tables, which follow from a formula, and two families hold indexers.
test.each(forwardCases().filter(([name]) => !/^minimax$|minimax_m3|deepseek_v32/.test(name)))(
  "%s: what the description names is what the checkpoint holds",
  async (_, folder) => {
    const { textParameters } = await inspect(folder);
    const { model, checkpoint } = await openModel(folder);
    await checkpoint.close();
    expect(textParameters).toEqual(countParameters(model));
  },
);
