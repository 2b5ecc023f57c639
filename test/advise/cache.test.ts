import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { sequenceCache } from "../../src/advise/cache.js";
import { createReferenceBackend } from "../../src/engine/reference/reference-backend.js";
import { describeModel } from "../../src/model/describe.js";
import { mixerStateSize } from "../../src/model/mixers/kinds.js";
import { forwardCases, GOLDENS, readJson } from "../support/goldens.js";

const configOf = (name: string, changes: object = {}) => ({
  ...readJson<Record<string, unknown>>(join(GOLDENS, "forward", name, "config.json")),
  ...changes,
});

describe("sizes that are known of published models", () => {
  test("Qwen3-30B-A3B: 48 layers of 4 key and value heads of 128, 96 KiB a token", () => {
    const sizes = { num_hidden_layers: 48, num_attention_heads: 32, num_key_value_heads: 4, head_dim: 128 };
    const model = describeModel(configOf("qwen3_moe", { ...sizes, mlp_only_layers: [] }));
    expect(sequenceCache(model, 1)).toEqual({ keysAndValues: 98_304, states: 0 });
    expect(sequenceCache(model, 32_768).keysAndValues).toBe(3 * 2 ** 30);
  });

  test("DeepSeek-V2: 34.6 thousand numbers a token (its paper, Table 9)", () => {
    const sizes = { num_hidden_layers: 60, kv_lora_rank: 512, qk_rope_head_dim: 64 };
    const model = describeModel(configOf("deepseek_v2", sizes));
    expect(sequenceCache(model, 1).keysAndValues / 2).toBe(34_560);
  });

  test("gpt-oss-20b: every other layer sees 128 tokens", () => {
    const types = Array.from({ length: 24 }, (_, layer) => (layer % 2 === 0 ? "sliding_attention" : "full_attention"));
    const sizes = { num_hidden_layers: 24, num_attention_heads: 64, num_key_value_heads: 8, head_dim: 64 };
    const model = describeModel(configOf("gpt_oss", { ...sizes, layer_types: types, sliding_window: 128 }));
    const each = 2 * 2 * 8 * 64;
    expect(sequenceCache(model, 100).keysAndValues).toBe(24 * 100 * each);
    expect(sequenceCache(model, 8192).keysAndValues).toBe(12 * each * (8192 + 128));
  });

  test("Llama 4: rotated layers see their chunk", () => {
    const model = describeModel(configOf("llama4_text", { attention_chunk_size: 16 }));
    const chunked = model.layers.filter(({ mixer }) => mixer.kind === "attention" && mixer.chunk === 16).length;
    const { mixer } = model.layers[0]!;
    if (mixer.kind !== "attention") throw new TypeError(mixer.kind);
    const each = 4 * mixer.keyValueHeads * mixer.headSize;
    const all = model.layers.length;
    expect(chunked).toBeGreaterThan(0);
    expect(sequenceCache(model, 100).keysAndValues).toBe(each * (16 * chunked + 100 * (all - chunked)));
  });

  test("Qwen3-Next-80B-A3B: 12 of 48 layers keep tokens, the others states", () => {
    const model = describeModel(
      configOf("qwen3_next", {
        ...{ num_hidden_layers: 48, layer_types: null, full_attention_interval: 4 },
        ...{ num_attention_heads: 16, num_key_value_heads: 2, head_dim: 256 },
        ...{ linear_num_key_heads: 16, linear_num_value_heads: 32, linear_key_head_dim: 128 },
        ...{ linear_value_head_dim: 128, linear_conv_kernel_dim: 4 },
      }),
    );
    const { keysAndValues, states } = sequenceCache(model, 1000);
    expect(keysAndValues).toBe(12 * 1000 * 2 * 2 * 2 * 256);
    // 32 matrices of 128 x 128 in float32, and 3 inputs of 8,192 channels in bfloat16.
    expect(states).toBe(36 * (4 * 32 * 128 * 128 + 2 * 3 * 8192));
  });
});

test.each(forwardCases())("%s: as many numbers as the reference keeps", (_, folder) => {
  const model = describeModel(readJson(join(folder, "config.json")));
  const backend = createReferenceBackend("f32");
  for (const { mixer } of model.layers) {
    const own = sequenceCache({ layers: [{ ...model.layers[0]!, mixer }] }, 7);
    const { bytesPerToken, bytesPerSequence } = mixerStateSize(mixer, backend);
    // The reference keeps float32, the latent vector twice, and of a window all tokens.
    const latent = mixer.kind === "latent-attention" ? 4 * mixer.rank : 0;
    expect(own.keysAndValues).toBe((7 * (bytesPerToken - latent)) / 2);
    expect(own.states).toBeLessThanOrEqual(bytesPerSequence);
    expect(own.states).toBeGreaterThanOrEqual(bytesPerSequence / 2);
  }
});
