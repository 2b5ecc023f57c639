import fc from "fast-check";
import { describe, expect, it, test } from "vitest";
import { EXPERT_COUNT_KEYS, editDtype, editExpertCount, editNoPredictions } from "../../src/checkpoint/config-edit.js";
import { expectCode } from "./support.js";

describe("editExpertCount", () => {
  it.each(EXPERT_COUNT_KEYS)("edits %s and nothing else", (key) => {
    const config = (count: number) =>
      `{\r\n\t"${key}" : ${count},\n "rope": 1.0e+6, "eps":1e-05,"big":12345678901234567890, "nan": NaN}\n\n`;
    expect(editExpertCount(config(128), 128, 96)).toBe(config(96));
  });

  it("edits all aliases, in nested objects too, but no other value", () => {
    const config = (count: number) => `{
  "num_experts": ${count}, "num_local_experts": ${count}, "num_experts_per_tok": 16, "hidden": 16,
  "text_config": {"n_routed_experts": ${count}, "deeper": {"moe_num_experts": ${count}}},
  "vision_config": {"num_experts": 4}, "layers": [{"num_experts": 16}, 16], "note": "num_experts: 16"
}`;
    expect(editExpertCount(config(16), 16, 8)).toBe(config(8));
  });

  it("edits one part alone, where it is told which", () => {
    const config = (count: number) => `{
  "num_experts": 16, "talker_config": {"num_experts": 16, "thinker_config": {"num_experts": 16}},
  "thinker_config": {"list": [{"thinker_config": 1}], "text_config": {"num_experts": ${count}}, "num_local_experts": ${count}}
}`;
    expect(editExpertCount(config(16), 16, 8, ["thinker_config"])).toBe(config(8));
  });

  it("edits a number for each layer, and no other list", () => {
    const config = (count: number) =>
      `{"num_experts": [${count}, ${count}], "moe_topk": [16, 16], "layers": [{"num_experts": [16]}, 16, [16]], "num_local_experts": ${count}}`;
    expect(editExpertCount(config(16), 16, 8)).toBe(config(8));
  });

  it("finds escaped keys", () => {
    expect(editExpertCount('{"num\\u005fexperts":8}', 8, 4)).toBe('{"num\\u005fexperts":4}');
  });

  it.each([
    '{"num_experts": 64}',
    '{"num_experts": "128"}',
    '{"num_experts": [64, [128], {"a": 128}]}',
    '{"num_experts": null}',
    "{}",
    "[128]",
    "128",
  ])("refuses %s, where no key holds 128", async (config) => {
    await expectCode("CONFIG_EXPERT_COUNT", () => editExpertCount(config, 128, 96));
  });

  it("refuses a broken config", async () => {
    await expectCode("JSON_SYNTAX", () => editExpertCount('{"num_experts": 128', 128, 96));
    await expectCode("JSON_DUPLICATE_KEY", () => editExpertCount('{"num_experts": 128, "num_experts": 128}', 128, 96));
  });

  it("changes just the count in any config", () => {
    const value = fc.jsonValue({ maxDepth: 3 });
    const indents = fc.constantFrom(undefined, 2, "\t");
    fc.assert(
      fc.property(
        fc.dictionary(fc.string(), value),
        fc.constantFrom(...EXPERT_COUNT_KEYS),
        indents,
        (rest, key, indent) => {
          const at = (count: number) => JSON.stringify({ ...rest, [key]: count, last: rest }, null, indent);
          expect(editExpertCount(at(777_777), 777_777, 5)).toBe(at(5));
        },
      ),
    );
  });
});

test("editNoPredictions edits the number of prediction layers under its keys alone", () => {
  const config = (count: number) =>
    `{"num_nextn_predict_layers" : ${count}, "text_config": {"mtp_num_hidden_layers": ${count}}, "num_hidden_layers": 1,
  "mtp_layer_types": [1], "num_mtp_layers": null}`;
  expect(editNoPredictions(config(1))).toBe(config(0));
  expect(editNoPredictions('{"num_mtp_layers":2}')).toBe('{"num_mtp_layers":0}');
});

describe("editDtype", () => {
  it("edits torch_dtype and dtype wherever they hold a name", () => {
    const config = (name: string) =>
      `{"torch_dtype": "${name}", "text_config": {"dtype":"${name}"}, "x": "${"bfloat16"}", "dtype": null}`;
    expect(editDtype(config("bfloat16"), "F16")).toBe(config("float16"));
    expect(editDtype("{}", "F32")).toBe("{}");
    expect(() => editDtype("{}", "I8")).toThrow(RangeError);
  });
});
