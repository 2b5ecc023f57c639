import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Checkpoint } from "../../src/checkpoint/checkpoint.js";
import { encode } from "../../src/checkpoint/dtypes.js";
import { weightFormat } from "../../src/checkpoint/quantised/formats.js";
import { plainIntegers } from "../../src/checkpoint/quantised/integers.js";
import { quantizationConfig } from "../../src/checkpoint/quantised/quantization-config.js";
import { fp8Blocks, scaledE4m3 } from "../../src/checkpoint/quantised/scaled-e4m3.js";
import { turnedIntegers } from "../../src/checkpoint/quantised/turned-integers.js";
import { WEIGHT_FORMAT_NAMES, type WeightStorage } from "../../src/checkpoint/quantised/weight-format.js";
import { encodeSafetensors } from "../../src/checkpoint/safetensors-encode.js";
import type { Tensor } from "../../src/checkpoint/tensor.js";
import type { Backend } from "../../src/engine/backend.js";

/** A way in which whole checkpoints are quantised. */
export interface QuantisedScheme {
  readonly storage: WeightStorage;
  /** `quantization_config`. @param ignored modules that are stored as they were */
  readonly config: (ignored: readonly string[]) => object;
  /** Whether modules have the range of their inputs, as measured: `input_scale`. */
  readonly inputScales?: boolean;
}

const turned = (options: Omit<Parameters<typeof turnedIntegers>[0], "bits" | "group">, config: object) => ({
  storage: turnedIntegers({ bits: 4, group: 32, ...options }),
  config: () => ({ quant_method: options.storage, bits: 4, group_size: 32, ...config }),
});
const integers = (symmetric: boolean): QuantisedScheme => ({
  storage: plainIntegers({ bits: 8, group: undefined, symmetric }, "int-quantized"),
  config: (ignored) =>
    compressed("int-quantized", { num_bits: 8, type: "int", symmetric, strategy: "channel" }, ignored),
});
const fp8 = (powersOfTwo: boolean): QuantisedScheme => ({
  storage: fp8Blocks([128, 128], powersOfTwo),
  config: (ignored) => ({
    ...{ quant_method: "fp8", weight_block_size: [128, 128], modules_to_not_convert: ignored },
    ...(powersOfTwo && { scale_fmt: "ue8m0" }),
  }),
});
const compressed = (format: string, weights: object, ignore: readonly string[]) => ({
  ...{ quant_method: "compressed-tensors", format, ignore },
  config_groups: { group_0: { targets: ["Linear"], weights, format } },
});

/** Every form of quantised weights that is read and written. */
export const SCHEMES: Readonly<Record<string, QuantisedScheme>> = {
  ...Object.fromEntries(
    WEIGHT_FORMAT_NAMES.map((name) => {
      const format = weightFormat(name);
      return [name, { storage: format, config: (ignored: readonly string[]) => quantizationConfig(format, ignored) }];
    }),
  ),
  "int8-plain": integers(true),
  "int8-plain-asym": integers(false),
  "fp8-tensor": {
    storage: scaledE4m3("tensor", "float-quantized"),
    config: (ignored) => compressed("float-quantized", { num_bits: 8, type: "float", strategy: "tensor" }, ignored),
    inputScales: true,
  },
  "fp8-deepseek": fp8(false),
  "fp8-deepseek-ue8m0": fp8(true),
  gptq: turned({ storage: "gptq", zeroOffset: 1, symmetric: true }, {}),
  "gptq-asym": turned({ storage: "gptq", zeroOffset: 1, symmetric: false }, { sym: false }),
  "gptq-v2": turned({ storage: "gptq", zeroOffset: 0, symmetric: false }, { sym: false, checkpoint_format: "gptq_v2" }),
  awq: turned({ storage: "awq", zeroOffset: 0, symmetric: false }, { version: "gemm", zero_point: true }),
};

/**
 * Writes a model twice in one file each: to `<target>/quantised` with its projections in a form, those left out that the
 * form refuses, and to `<target>/decoded` with the values that these have. Returns the names of the modules left out.
 */
export async function writeQuantised(
  source: string,
  target: string,
  name: string,
  backend: Backend,
): Promise<string[]> {
  const { storage, config, inputScales } = SCHEMES[name]!;
  const [quantised, decoded] = [new Map<string, Tensor>(), new Map<string, Tensor>()];
  // Tied to the embedding here, but a linear layer for transformers.
  const ignored: string[] = ["lm_head"];
  const checkpoint = await Checkpoint.open(source);
  for (const [i, key] of [...checkpoint.tensors.keys()].entries()) {
    const tensor = await checkpoint.read(key);
    const shape = tensor.shape as [number, number];
    const module = key.slice(0, -".weight".length);
    const isLinear = module.endsWith("_proj") || module.endsWith(".gate");
    if (!module.endsWith("_proj") || storage.refusal(shape) !== undefined) {
      if (isLinear) ignored.push(module);
      for (const tensors of [quantised, decoded]) tensors.set(key, tensor);
      continue;
    }
    const parts = storage.encode(backend, tensor, storage.turned ? "F16" : "BF16");
    for (const [suffix, part] of parts) quantised.set(`${module}.${suffix}`, part);
    if (inputScales === true) {
      const data = encode("F32", Float32Array.of(i + 1));
      quantised.set(`${module}.input_scale`, { dtype: "F32", shape: [1], data });
    }
    decoded.set(key, storage.decode(parts, shape));
  }
  await checkpoint.close();
  const given = JSON.parse(readFileSync(join(source, "config.json"), "utf8")) as object;
  const written = { ...given, quantization_config: config(ignored) };
  for (const [folder, tensors, content] of [
    ["quantised", quantised, written],
    ["decoded", decoded, given],
  ] as const) {
    mkdirSync(join(target, folder), { recursive: true });
    writeFileSync(join(target, folder, "config.json"), JSON.stringify(content, null, 2));
    writeFileSync(join(target, folder, "model.safetensors"), encodeSafetensors(tensors));
  }
  return ignored;
}
