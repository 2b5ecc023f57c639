import { describe, expect, it } from "vitest";
import { weightFormat } from "../../../src/checkpoint/quantised/formats.js";
import { quantizationConfig } from "../../../src/checkpoint/quantised/quantization-config.js";

// That compressed-tensors understands them: test/peers/compressed-tensors.test.ts.
describe("quantizationConfig", () => {
  it("is that of llm-compressor for W4A16", () => {
    expect(quantizationConfig(weightFormat("int4-g128"), ["lm_head", "re:.*gate$"])).toEqual({
      config_groups: {
        group_0: {
          targets: ["Linear"],
          weights: { num_bits: 4, type: "int", symmetric: true, group_size: 128, strategy: "group", dynamic: false },
          input_activations: null,
          output_activations: null,
          format: "pack-quantized",
        },
      },
      format: "pack-quantized",
      global_compression_ratio: null,
      ignore: ["lm_head", "re:.*gate$"],
      kv_cache_scheme: null,
      quant_method: "compressed-tensors",
      quantization_status: "compressed",
      sparsity_config: {},
      transform_config: {},
      version: "0.20.0",
    });
  });

  it("names inputs where servers shall round them, and only where the format can", () => {
    const config = quantizationConfig(weightFormat("fp8"), [], { dynamicActivations: true });
    expect(config).toMatchObject({
      format: "float-quantized",
      config_groups: { group_0: { input_activations: { num_bits: 8, strategy: "token", dynamic: true } } },
    });
    expect(() => quantizationConfig(weightFormat("mxfp4"), [], { dynamicActivations: true })).toThrow(RangeError);
  });
});
