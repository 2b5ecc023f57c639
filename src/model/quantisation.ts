import type { BlockSize } from "../checkpoint/quantised/fp8-blocks.js";
import type { TensorInfo } from "../checkpoint/tensor.js";
import { ReamError } from "../errors.js";
import type { ConfigReader } from "./config.js";

/** How the weights of a checkpoint are quantised, as `quantization_config` says. */
export type Quantisation =
  /** E4M3 with a scale for each block of the matrix. */
  | { readonly method: "fp8-blocks"; readonly block: BlockSize }
  /** Experts in 4-bit floats with a scale for every 32. */
  | { readonly method: "mxfp4" };

export type QuantisationMethod = Quantisation["method"];

const DEFAULT_BLOCK = [128, 128] as const;

/**
 * Reads `quantization_config`, at the top or in the text model's part (Kimi K2.5); undefined where there is none. Methods
 * that are not known are `QUANTISED_SOURCE`.
 */
export function readQuantisation(config: ConfigReader): Quantisation | undefined {
  const key = "quantization_config";
  const quantised = config.object(key) ?? config.object("text_config")?.object(key);
  if (quantised === undefined) return undefined;
  const method = quantised.values.quant_method;
  if (method === "mxfp4") return { method: "mxfp4" };
  if (method === "fp8") return { method: "fp8-blocks", block: readBlock(quantised) };
  throw new ReamError(
    "QUANTISED_SOURCE",
    `quant_method ${JSON.stringify(method) ?? "is missing, which"} is not supported`,
    {
      where: "config.json quantization_config",
      hint: 'Supported: "fp8" with scales by blocks, and "mxfp4". Else use the unquantised (bfloat16) checkpoint of the same model.',
    },
  );
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
export function storedNumbers({ name, shape }: TensorInfo, method: QuantisationMethod | undefined): number {
  const elements = shape.reduce((product, size) => product * size, 1);
  if (method === "fp8-blocks" && name.endsWith("_scale_inv")) return 0;
  if (method === "mxfp4" && name.endsWith("_scales")) return 0;
  return method === "mxfp4" && name.endsWith("_blocks") ? 2 * elements : elements;
}
