import { describe, expect, test } from "vitest";
import type { JsonObject } from "../../src/checkpoint/json.js";
import { weightFormat } from "../../src/checkpoint/quantised/formats.js";
import { quantizationConfig } from "../../src/checkpoint/quantised/quantization-config.js";
import { WEIGHT_FORMAT_NAMES } from "../../src/checkpoint/quantised/weight-format.js";
import { readCompressedTensors } from "../../src/model/compressed-tensors.js";
import { ConfigReader } from "../../src/model/config.js";
import { expectCode } from "../checkpoint/support.js";

const read = (config: object) => readCompressedTensors(new ConfigReader(config as JsonObject));

const weights = { num_bits: 4, type: "int", symmetric: true, strategy: "group", group_size: 128 };
const group = (change: object, more: object = {}) => ({
  targets: ["Linear"],
  weights: { ...weights, ...change },
  ...more,
});
const config = (one: object, more: object = {}) => ({
  format: "pack-quantized",
  config_groups: { group_0: one },
  ...more,
});

describe("readCompressedTensors", () => {
  test.each(WEIGHT_FORMAT_NAMES)("%s is stored as it is written", (name) => {
    const format = weightFormat(name);
    const { storageOf, notes } = read(quantizationConfig(format, ["lm_head"]));
    expect(storageOf("lm_head")).toBeUndefined();
    expect(storageOf("model.layers.0.mlp.up_proj")?.stored([256, 256], "F16")).toEqual(
      format.stored([256, 256], "F16"),
    );
    expect(notes).toEqual([]);
  });

  test("ignored modules are not, names and patterns come before classes, groups have formats of their own", () => {
    const { storageOf } = read({
      format: "mixed-precision",
      ignore: ["lm_head", "re:.*gate$"],
      config_groups: {
        rest: group({}, { format: "pack-quantized" }),
        attention: {
          targets: ["re:.*self_attn\\..*"],
          weights: { num_bits: 8, type: "float", strategy: "channel" },
          format: "float-quantized",
        },
        head: { targets: ["score"], weights: null },
      },
    });
    const found = ["lm_head", "a.gate", "a.gate_proj", "a.self_attn.q_proj", "score"].map(
      (name) => storageOf(name)?.storage,
    );
    expect(found).toEqual([undefined, undefined, "pack-quantized", "float-quantized", undefined]);
  });

  test("without a class other modules are plain", () => {
    const { storageOf } = read(config({ ...group({}), targets: ["re:.*experts.*"] }));
    expect(storageOf("a.experts.0.up_proj")?.storage).toBe("pack-quantized");
    expect(storageOf("a.q_proj")).toBeUndefined();
  });

  test("the block size is a list, or text in older checkpoints; the strategy follows from the group size", () => {
    const block = (structure: unknown) =>
      read({
        format: "float-quantized",
        config_groups: {
          group_0: group({
            num_bits: 8,
            type: "float",
            strategy: "block",
            group_size: null,
            block_structure: structure,
          }),
        },
      }).storageOf("a")!;
    for (const structure of [[64, 128], "64x128"])
      expect(block(structure).stored([128, 256], "BF16")[1]!.shape).toEqual([2, 2]);
    const { storageOf } = read(config({ targets: ["Linear"], weights: { num_bits: 4, group_size: -1 } }));
    expect(storageOf("a")!.stored([8, 24], "BF16")[1]!.shape).toEqual([8, 1]);
  });

  test("inputs that servers would round are told", () => {
    const inputs = { num_bits: 8, type: "float", strategy: "token", dynamic: true };
    const { notes } = read(config(group({}, { input_activations: inputs })));
    expect(notes).toEqual([
      "group_0 has input_activations (dynamic 8-bit float): inputs of products are not rounded here.",
    ]);
  });

  test.each([
    ["num_bits", 3, config(group({ num_bits: 3 }))],
    ["type", "float", config(group({ type: "float" }))],
    ["strategy", "tensor", config(group({ strategy: "tensor" }))],
    ["group_size", 0, config(group({ group_size: 0 }))],
    ["dynamic", true, config(group({ dynamic: true }))],
    [
      "symmetric",
      false,
      { ...config(group({ type: "float", group_size: 32, symmetric: false })), format: "mxfp4-pack-quantized" },
    ],
    ["group_size", 64, { ...config(group({ type: "float", group_size: 64 })), format: "mxfp4-pack-quantized" }],
    ["strategy", "group", { ...config(group({ type: "float", group_size: 16 })), format: "nvfp4-pack-quantized" }],
    ["num_bits", 4, { ...config(group({})), format: "int-quantized" }],
    ["strategy", "group", { ...config(group({ num_bits: 8, type: "float" })), format: "float-quantized" }],
    ["format", "marlin-24", { ...config(group({})), format: "marlin-24" }],
    ["format", "", { config_groups: { group_0: group({}) } }],
    ["targets", "Embedding", config({ ...group({}), targets: ["Embedding"] })],
    ["output_activations", { num_bits: 8 }, config(group({}, { output_activations: { num_bits: 8 } }))],
    ["kv_cache_scheme", { num_bits: 8 }, config(group({}), { kv_cache_scheme: { num_bits: 8 } })],
    ["transform_config", { groups: 1 }, config(group({}), { transform_config: { groups: 1 } })],
    [
      "sparsity_config",
      { format: "sparse-24-bitmask" },
      config(group({}), { sparsity_config: { format: "sparse-24-bitmask" } }),
    ],
    ["W4A16", ["Linear"], { format: "pack-quantized", config_groups: { W4A16: ["Linear"] } }],
  ])("%s %j is refused by key and value", async (key, value, refused) => {
    const error = await expectCode("CONFIG_UNSUPPORTED", () => read(refused));
    expect(error.message).toBe(`${key} ${JSON.stringify(value)} is not supported`);
    expect(error.where).toContain("config.json quantization_config");
  });

  test("what says nothing is no hindrance", () => {
    const empty = { kv_cache_scheme: null, transform_config: {}, sparsity_config: { format: "dense" }, ignore: null };
    expect(read(config(group({}), empty)).storageOf("a")).toBeDefined();
  });
});
