import type { JsonObject } from "../json.js";
import type { WeightFormat } from "./weight-format.js";

/** Version of compressed-tensors whose formats these are. */
export const COMPRESSED_TENSORS_VERSION = "0.20.0";

export interface QuantizationConfigOptions {
  /** Servers shall round the inputs of products as well, where the format has a scheme for it (W8A8). */
  readonly dynamicActivations?: boolean;
}

/**
 * `quantization_config` of config.json as llm-compressor writes it with compressed-tensors, for a checkpoint whose linear
 * layers are in this format. A format without a scheme for activations is a `RangeError` where one is asked for.
 *
 * @param ignore names of modules that are stored as they were, or `re:` and a regular expression of Python
 */
export function quantizationConfig(
  format: WeightFormat,
  ignore: readonly string[],
  { dynamicActivations = false }: QuantizationConfigOptions = {},
): JsonObject {
  if (dynamicActivations && format.dynamicActivations === undefined)
    throw new RangeError(`${format.name} has no scheme for activations`);
  // As compressed-tensors' `infer_module_format`: E4M3 that is meant for W8A8 has a name of its own.
  const storage = dynamicActivations ? "float-quantized" : format.storage;
  const group = {
    targets: ["Linear"],
    weights: { ...format.weights },
    input_activations: dynamicActivations ? { ...format.dynamicActivations } : null,
    output_activations: null,
    format: storage,
  };
  return {
    config_groups: { group_0: group },
    format: storage,
    global_compression_ratio: null,
    ignore: [...ignore],
    kv_cache_scheme: null,
    quant_method: "compressed-tensors",
    quantization_status: "compressed",
    sparsity_config: {},
    transform_config: {},
    version: COMPRESSED_TENSORS_VERSION,
  };
}
