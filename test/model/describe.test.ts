import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { describeModel } from "../../src/model/describe.js";
import { isMoe, type ModelDescription } from "../../src/model/description.js";
import type { AttentionDescription } from "../../src/model/mixers/descriptions.js";
import { GOLDENS, readJson } from "../support/goldens.js";

const hub = () => readJson<Record<string, unknown>>(join(GOLDENS, "forward/qwen3_moe/config.json"));
const newer = () => readJson<Record<string, unknown>>(join(GOLDENS, "forward/qwen3_moe-tied-yarn/config.json"));

/** The first layer's attention. */
function attentionOf({ layers }: ModelDescription): AttentionDescription {
  const { mixer } = layers[0]!;
  if (mixer.kind !== "attention") throw new TypeError(mixer.kind);
  return mixer;
}

describe("qwen3_moe", () => {
  test("the spelling of hub files", () => {
    const model = describeModel(hub());
    expect(model).toMatchObject({ experts: 16, topK: 4, vocabularySize: 256 });
    expect(model.outputHead.weight).toBe("lm_head.weight");
    expect(model.layers.map(isMoe)).toEqual([true, false, true]);
    expect(model.layers[0]!.mixer).toMatchObject({ window: undefined, rope: { rotary: 16, theta: 10_000 } });
  });

  test("the newer spelling: rope_parameters, num_local_experts, tied embeddings, decoder_sparse_step", () => {
    const model = describeModel(newer());
    expect(model).toMatchObject({ experts: 8, topK: 2 });
    expect(model.outputHead.weight).toBe("model.embed_tokens.weight");
    expect(model.layers.map(isMoe)).toEqual([false, true, false, true]);
    expect(attentionOf(model).rope!.scaling).toMatchObject({ kind: "yarn", factor: 4, originalPositions: 128 });
  });

  test("a sliding window counts only if use_sliding_window says so", () => {
    const window = (changes: object) => attentionOf(describeModel({ ...hub(), ...changes })).window;
    expect(window({ sliding_window: 8, use_sliding_window: false })).toBeUndefined();
    expect(window({ sliding_window: 8, use_sliding_window: true })).toBe(8);
  });

  test("linear scaling of the positions in both spellings", () => {
    const scaling = (changes: object) => attentionOf(describeModel({ ...hub(), ...changes })).rope;
    expect(scaling({ rope_scaling: { type: "linear", factor: 2 } })).toMatchObject({
      theta: 10_000,
      scaling: { kind: "linear", factor: 2 },
    });
    const parameters = { rope_type: "linear", factor: 2, rope_theta: 500 };
    expect(scaling({ rope_parameters: parameters })).toMatchObject({
      theta: 500,
      scaling: { kind: "linear", factor: 2 },
    });
  });
});

test("quantised sources that are known", () => {
  const quantised = (config: unknown) => describeModel({ ...hub(), quantization_config: config }).quantisation;
  expect(quantised(null)).toBeUndefined();
  expect(quantised({ quant_method: "fp8", weight_block_size: [128, 128] })).toBe("fp8-blocks");
  expect(quantised({ quant_method: "mxfp4" })).toBe("mxfp4");
});

describe("a config that makes no sense is a named error", () => {
  const cases: [string, object, string][] = [
    ["unknown family", { model_type: "gpt2" }, "FAMILY_UNSUPPORTED"],
    ["a family named like a method of objects", { model_type: "constructor" }, "FAMILY_UNSUPPORTED"],
    ["no family", { model_type: undefined }, "CONFIG_VALUE"],
    ["experts as text", { num_experts: "16" }, "CONFIG_VALUE"],
    ["experts as a list that is not the same for all", { num_experts: [16, 8, 16] }, "CONFIG_UNSUPPORTED"],
    ["experts as a list of texts", { num_experts: ["16", "16"] }, "CONFIG_VALUE"],
    ["no experts", { num_experts: 0 }, "CONFIG_VALUE"],
    ["top-k above the experts", { num_experts_per_tok: 17 }, "CONFIG_VALUE"],
    ["NaN", { rms_norm_eps: Number.NaN }, "CONFIG_VALUE"],
    ["every layer dense", { mlp_only_layers: [0, 1, 2] }, "NO_EXPERTS"],
    ["quantised in another way", { quantization_config: { quant_method: "bitsandbytes" } }, "QUANTISED_SOURCE"],
    [
      "in bits that are not supported",
      { quantization_config: { quant_method: "gptq", bits: 3 } },
      "CONFIG_UNSUPPORTED",
    ],
    ["quantised, not said how", { quantization_config: {} }, "QUANTISED_SOURCE"],
    ["quantised, as a list", { quantization_config: ["fp8"] }, "CONFIG_VALUE"],
    ["heads do not divide", { num_key_value_heads: 3 }, "CONFIG_VALUE"],
    ["unknown rotary embedding", { rope_scaling: { rope_type: "spiral", factor: 2 } }, "ROPE_UNSUPPORTED"],
    ["unknown activation", { hidden_act: "cubic" }, "CONFIG_VALUE"],
  ];
  test.each(cases)("%s", (_, changes, code) => {
    expect(() => describeModel({ ...hub(), ...changes })).toThrow(expect.objectContaining({ code }) as Error);
  });
});
