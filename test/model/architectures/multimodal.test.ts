import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { describeModel } from "../../../src/model/describe.js";
import { expectCode } from "../../checkpoint/support.js";
import { GOLDENS, readJson } from "../../support/goldens.js";

const golden = (name: string) => readJson<Record<string, unknown>>(join(GOLDENS, `forward/${name}/config.json`));

describe("a text model within a multimodal one", () => {
  const config = { model_type: "kimi_k25", tie_word_embeddings: false, text_config: golden("deepseek_v3") };
  const names = (...known: string[]) => ({ has: (name: string) => known.includes(name) });

  test("under language_model.model., as Kimi K2.5 has it", () => {
    const model = describeModel(config, names("language_model.model.embed_tokens.weight"));
    expect(model.family).toBe("kimi_k25");
    expect(model.embedding).toBe("language_model.model.embed_tokens.weight");
    expect(model.finalNorm.weight).toBe("language_model.model.norm.weight");
    expect(model.outputHead.weight).toBe("language_model.lm_head.weight");
    expect(model.layers[1]!.prefix).toBe("language_model.model.layers.1.");
  });

  test("under model.language_model., with a tied output matrix", () => {
    const model = describeModel({ ...config, tie_word_embeddings: true }, names());
    expect(model.embedding).toBe("model.language_model.embed_tokens.weight");
    expect(model.outputHead.weight).toBe(model.embedding);
  });

  test("families that are not known, and quantisation of the text model, are told", async () => {
    await expectCode("FAMILY_UNSUPPORTED", () => describeModel({ ...config, text_config: { model_type: "gpt2" } }));
    await expectCode("FAMILY_UNSUPPORTED", () => describeModel({ model_type: "kimi_k25" }));
    const quantised = { ...golden("deepseek_v3"), quantization_config: { quant_method: "bitsandbytes" } };
    await expectCode("QUANTISED_SOURCE", () => describeModel({ ...config, text_config: quantised }));
  });
});

test("of Qwen3-Omni the thinker alone is described, and its part of the config named", async () => {
  const text_config = golden("qwen3_moe");
  const model = describeModel({ model_type: "qwen3_omni_moe", thinker_config: { text_config } });
  expect(model.configPart).toEqual(["thinker_config"]);
  expect(model.embedding).toBe("thinker.model.embed_tokens.weight");
  await expectCode("CONFIG_VALUE", () => describeModel({ model_type: "qwen3_omni_moe", thinker_config: {} }));
});
