import { turnedIntegers } from "../checkpoint/quantised/turned-integers.js";
import type { WeightStorage } from "../checkpoint/quantised/weight-format.js";
import { unsupportedOption } from "./compressed-tensors.js";
import type { ConfigReader } from "./config.js";

/** Weights of AutoGPTQ and AutoAWQ. Which modules are quantised is told by the tensors that they have. */
export interface TurnedQuantisation {
  readonly method: "gptq" | "awq";
  storageOf(module: string): WeightStorage;
  readonly notes: readonly string[];
}

const PLACE = "config.json quantization_config";

/** Reads a `quantization_config` with quant_method "gptq". What is not supported is `CONFIG_UNSUPPORTED`. */
export function readGptq(config: ConfigReader): TurnedQuantisation {
  const bits = config.count("bits");
  if (bits !== 4 && bits !== 8) throw unsupportedOption("bits", bits, PLACE);
  const format = config.string("checkpoint_format", "gptq");
  if (format !== "gptq" && format !== "gptq_v2") throw unsupportedOption("checkpoint_format", format, PLACE);
  if (config.boolean("is_marlin_format", false)) throw unsupportedOption("is_marlin_format", true, PLACE);
  // GPTQModel's settings for some modules; those that leave modules out need nothing here.
  for (const [pattern, settings] of Object.entries(config.object("dynamic")?.values ?? {}))
    if (!pattern.startsWith("-:")) throw unsupportedOption("dynamic", { [pattern]: settings }, PLACE);
  const symmetric = config.boolean("sym", true);
  const zeroOffset = format === "gptq" ? 1 : 0;
  const storage = turnedIntegers({ storage: "gptq", bits, group: readGroup(config), zeroOffset, symmetric });
  return { method: "gptq", storageOf: () => storage, notes: [] };
}

/** Reads a `quantization_config` with quant_method "awq". What is not supported is `CONFIG_UNSUPPORTED`. */
export function readAwq(config: ConfigReader): TurnedQuantisation {
  const bits = config.count("bits", 4);
  if (bits !== 4) throw unsupportedOption("bits", bits, PLACE);
  const version = config.string("version", "gemm");
  if (version.toLowerCase() !== "gemm") throw unsupportedOption("version", version, PLACE);
  if (!config.boolean("zero_point", true)) throw unsupportedOption("zero_point", false, PLACE);
  const storage = turnedIntegers({ storage: "awq", bits, group: readGroup(config), zeroOffset: 0, symmetric: false });
  return { method: "awq", storageOf: () => storage, notes: [] };
}

function readGroup(config: ConfigReader): number | undefined {
  const group = config.number("group_size", 128);
  if (group === -1) return undefined;
  if (!Number.isSafeInteger(group) || group < 1) throw unsupportedOption("group_size", group, PLACE);
  return group;
}
