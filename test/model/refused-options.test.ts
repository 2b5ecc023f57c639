import { join } from "node:path";
import { expect, test } from "vitest";
import type { JsonObject } from "../../src/checkpoint/json.js";
import { ReamError } from "../../src/errors.js";
import { describeModel } from "../../src/model/describe.js";
import { GOLDENS, readJson } from "../support/goldens.js";

// An option that is not implemented is refused when the config is read, before any weight is, by its key and value.
const CASES: [family: string, key: string, value: unknown][] = [
  ["afmoe", "route_norm", false],
  ["deepseek_v2", "scoring_func", "sigmoid"],
  ["deepseek_v2", "mlp_bias", true],
  ["deepseek_v3", "topk_method", "greedy"],
  ["deepseek_v3", "moe_layer_freq", 2],
  ["exaone_moe", "scoring_func", "softmax"],
  ["gemma4", "hidden_size_per_layer_input", 256],
  ["gemma4", "num_kv_shared_layers", 2],
  ["granitemoehybrid", "position_embedding_type", "alibi"],
  ["hy_v3", "qk_norm", false],
  ["jamba", "hidden_act", "gelu"],
  ["kimi_linear", "moe_router_activation_func", "softmax"],
  ["laguna", "moe_router_logit_softcapping", 30],
  ["minimax_m2", "qk_norm_type", "per_head"],
  ["nemotron_h", "mlp_hidden_act", "silu"],
  ["jetmoe", "activation_function", "relu"],
];

test.each(CASES)("%s with %s %j", (family, key, value) => {
  const config = readJson<JsonObject>(join(GOLDENS, "forward", family, "config.json"));
  expect(describeModel(config).family).toContain(family);
  const text = config.text_config as JsonObject | undefined;
  const changed =
    text === undefined ? { ...config, [key]: value } : { ...config, text_config: { ...text, [key]: value } };
  try {
    describeModel(changed);
  } catch (error) {
    expect(error).toBeInstanceOf(ReamError);
    const { message, where = "" } = error as ReamError;
    expect(`${message} ${where}`).toContain(key);
    expect(message).toContain(JSON.stringify(value));
    return;
  }
  expect.unreachable("it was described");
});
