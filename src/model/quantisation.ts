import type { JsonObject } from "../checkpoint/json.js";
import type { BlockSize } from "../checkpoint/quantised/fp8-blocks.js";
import type { TensorInfo } from "../checkpoint/tensor.js";
import { ReamError } from "../errors.js";
import { type CompressedTensors, readCompressedTensors } from "./compressed-tensors.js";
import { ConfigReader } from "./config.js";
import { readAwq, readGptq, type TurnedQuantisation } from "./gptq-awq.js";

/** How the weights of a checkpoint are quantised, as `quantization_config` says. */
export type Quantisation =
  /** E4M3 with a scale for each block of the matrix. */
  | {
      readonly method: "fp8-blocks";
      readonly block: BlockSize;
      /** Scales are powers of two (DeepSeek-V3.1). */
      readonly powersOfTwo: boolean;
    }
  /** Experts in 4-bit floats with a scale for every 32. */
  | { readonly method: "mxfp4" }
  | CompressedTensors
  | TurnedQuantisation;

export type QuantisationMethod = Quantisation["method"];

/** Block size of FP8 where the config tells none. */
export const DEFAULT_BLOCK = [128, 128] as const;

const known = new WeakMap<JsonObject, Quantisation>();

/** The quantisation of a checkpoint, read once. */
export function quantisationOf({ config }: { readonly config: JsonObject }): Quantisation | undefined {
  const found = known.get(config) ?? readQuantisation(new ConfigReader(config));
  if (found !== undefined) known.set(config, found);
  return found;
}

/**
 * Reads `quantization_config`, at the top or in the text model's part (Kimi K2.5); undefined where there is none. Methods
 * that are not known are `QUANTISED_SOURCE`.
 */
export function readQuantisation(config: ConfigReader): Quantisation | undefined {
  const quantised = quantisationConfig(config);
  if (quantised === undefined) return undefined;
  const method = quantised.values.quant_method;
  if (method === "mxfp4") return { method: "mxfp4" };
  if (method === "fp8") {
    const powersOfTwo = quantised.string("scale_fmt", "") === "ue8m0";
    return { method: "fp8-blocks", block: readBlock(quantised), powersOfTwo };
  }
  if (method === "compressed-tensors") return readCompressedTensors(quantised);
  if (method === "gptq") return readGptq(quantised);
  if (method === "awq") return readAwq(quantised);
  throw new ReamError(
    "QUANTISED_SOURCE",
    `quant_method ${JSON.stringify(method) ?? "is missing, which"} is not supported`,
    {
      where: "config.json quantization_config",
      hint: 'Supported: "compressed-tensors", "gptq", "awq", "fp8" with scales by blocks, and "mxfp4". Else use the unquantised (bfloat16) checkpoint of the same model.',
    },
  );
}

/** The object `quantization_config` of a config.json, where there is one. */
export function quantisationConfig(config: ConfigReader): ConfigReader | undefined {
  const key = "quantization_config";
  return config.object(key) ?? config.object("text_config")?.object(key);
}

function readBlock(quantised: ConfigReader): BlockSize {
  const given = quantised.integers("weight_block_size");
  if (given.length === 0) return DEFAULT_BLOCK;
  const [rows = 0, columns = 0] = given;
  if (given.length === 2 && rows > 0 && columns > 0) return [rows, columns];
  throw new ReamError("CONFIG_VALUE", `weight_block_size is [${given.join(", ")}], expected two positive numbers`, {
    where: "config.json quantization_config",
  });
}

/** Numbers of the model that a stored tensor holds: scales are none, a byte of MXFP4 is two. */
export function storedNumbers(
  { name, shape }: Pick<TensorInfo, "name" | "shape">,
  quantisation: Quantisation | undefined,
): number {
  const elements = product(shape);
  if (quantisation === undefined) return elements;
  if (quantisation.method === "fp8-blocks") return name.endsWith("_scale_inv") ? 0 : elements;
  if (quantisation.method === "mxfp4") {
    if (name.endsWith("_scales")) return 0;
    return name.endsWith("_blocks") ? 2 * elements : elements;
  }
  const end = name.lastIndexOf(".");
  const [module, suffix] = [name.slice(0, end), name.slice(end + 1)];
  if (OTHER_PARTS.has(suffix)) return 0;
  const storage = quantisation.storageOf(module);
  const isCodes = storage?.codes === suffix && shape.length === 2;
  return isCodes ? product(storage.shapeOf(shape as [number, number])) : elements;
}

/** Tensors of a module beside its codes. */
export const OTHER_PARTS: ReadonlySet<string> = new Set([
  ...["weight_scale", "weight_scale_inv", "weight_zero_point", "weight_shape", "weight_global_scale", "weight_g_idx"],
  ...["qzeros", "scales", "g_idx"],
  ...["input_scale", "input_zero_point", "input_global_scale", "output_scale", "output_zero_point"],
]);

function product(sizes: readonly number[]): number {
  return sizes.reduce((total, size) => total * size, 1);
}
