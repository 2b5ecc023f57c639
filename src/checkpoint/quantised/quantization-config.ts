import type { WeightFormat } from "./weight-format.js";

export function quantizationConfig(format: WeightFormat, ignore: readonly string[]): Record<string, unknown> {
  return {
    quant_method: "compressed-tensors",
    format: format.storage,
    config_groups: {
      group_0: { targets: ["Linear"], weights: format.weights, input_activations: null, output_activations: null },
    },
    ignore,
    quantization_status: "compressed",
    kv_cache_scheme: null,
  };
}
