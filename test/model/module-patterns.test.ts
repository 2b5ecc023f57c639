import { describe, expect, test } from "vitest";
import { modulePatterns } from "../../src/model/module-patterns.js";
import { expectCode } from "../checkpoint/support.js";

describe("modulePatterns", () => {
  test("names are whole, expressions match from the start", () => {
    const { matches } = modulePatterns(
      ["lm_head", "re:.*mlp\\.gate$", "re:model\\.layers\\.(0|1)\\.", "re:visual"],
      "x",
    );
    const found = [
      "lm_head",
      "model.lm_head",
      "model.layers.7.mlp.gate",
      "model.layers.7.mlp.gate_proj",
      "model.layers.1.self_attn.q_proj",
      "model.layers.10.self_attn.q_proj",
      "visual.blocks.0",
      "model.visual",
    ].filter(matches);
    expect(found).toEqual(["lm_head", "model.layers.7.mlp.gate", "model.layers.1.self_attn.q_proj", "visual.blocks.0"]);
  });

  test.each([
    ["re:^(?!.*experts).*", "model.layers.0.self_attn.q_proj", "model.layers.0.mlp.experts.0.up_proj"],
    ["re:.*\\.layers\\.[0-2]\\..*", "model.layers.2.mlp", "model.layers.3.mlp"],
    ["re:.*layers\\.\\d{2}\\.mlp", "model.layers.12.mlp", "model.layers.1.mlp"],
    ["re:.*(q|k|v)_proj$", "self_attn.k_proj", "self_attn.o_proj"],
    ["re:model.layers.*.self_attn.*", "model.layers.0.self_attn.q_proj", "model.layers.0.mlp"],
  ])("%s", (pattern, is, isNot) => {
    const { matches } = modulePatterns([pattern], "x");
    expect([matches(is), matches(isNot)]).toEqual([true, false]);
  });

  test.each([
    "re:(a+)+$",
    "re:(a|aa)*b",
    "re:(?:.*a){20}",
    "re:(.*)\\1",
    "re:(?P<name>a)",
    "re:(?i)a",
    "re:(?<=a)b",
    "re:a\\Z",
    "re:.*.*.*.*.*x",
    "re:[a",
    "re:(a",
    "re:*a",
    `re:${"a".repeat(501)}`,
  ])("%s is refused", async (pattern) => {
    const error = await expectCode("CONFIG_UNSUPPORTED", () =>
      modulePatterns(["lm_head", pattern], "config.json ignore"),
    );
    expect(error.message).toContain(JSON.stringify(pattern));
    expect(error.where).toBe("config.json ignore");
  });

  test("names of any length take little time", () => {
    const { matches } = modulePatterns(["re:.*a.*a.*a.*b"], "x");
    const start = performance.now();
    for (const length of [60, 199, 100_000]) expect(matches("a".repeat(length))).toBe(false);
    expect(performance.now() - start).toBeLessThan(10_000);
  });
});
