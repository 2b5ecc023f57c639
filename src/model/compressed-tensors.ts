import { MXFP4, NVFP4 } from "../checkpoint/quantised/e2m1.js";
import { packedIntegers, plainIntegers } from "../checkpoint/quantised/integers.js";
import { type Sharing, scaledE4m3 } from "../checkpoint/quantised/scaled-e4m3.js";
import type { WeightStorage } from "../checkpoint/quantised/weight-format.js";
import { ReamError } from "../errors.js";
import type { ConfigReader } from "./config.js";
import { type ModulePatterns, modulePatterns } from "./module-patterns.js";

/** What `quantization_config` of compressed-tensors says about a checkpoint. */
export interface CompressedTensors {
  readonly method: "compressed-tensors";
  /** How the weight of a module is stored where it is quantised; undefined: it is not. */
  storageOf(module: string): WeightStorage | undefined;
  /** What the config asks of servers that is not done here. */
  readonly notes: readonly string[];
}

/** A config group: modules by name or class, and how their weights are stored. */
interface Group {
  readonly named: ModulePatterns;
  /** All linear layers. */
  readonly linear: boolean;
  readonly storage: WeightStorage | undefined;
}

/**
 * Reads a `quantization_config` with quant_method "compressed-tensors". Every option that would change the numbers and is
 * not supported is a `CONFIG_UNSUPPORTED` error that names key and value. Inputs of products are not rounded, whatever
 * `input_activations` says: a note tells it.
 */
export function readCompressedTensors(config: ConfigReader): CompressedTensors {
  const format = config.string("format", "");
  const notes: string[] = [];
  for (const key of ["kv_cache_scheme", "sparsity_config", "transform_config"]) refuseFilled(config, key);
  const groups = groupsOf(config).map(([key, group]) => readGroup(group, key, format, notes));
  const ignored = modulePatterns(config.strings("ignore"), `${PLACE} ignore`);
  return {
    method: "compressed-tensors",
    notes,
    storageOf(module) {
      if (ignored.matches(module)) return undefined;
      // As `match_targets` there: names and patterns before classes.
      const group = groups.find(({ named }) => named.matches(module)) ?? groups.find(({ linear }) => linear);
      return group?.storage;
    },
  };
}

const PLACE = "config.json quantization_config";

function groupsOf(config: ConfigReader): [key: string, group: ConfigReader][] {
  const all = config.object("config_groups");
  if (all === undefined) throw unsupportedOption("config_groups", config.values.config_groups, PLACE);
  return Object.keys(all.values).map((key) => {
    // A list of targets under the name of a preset scheme.
    if (Array.isArray(all.values[key])) throw unsupportedOption(key, all.values[key], `${PLACE} config_groups`);
    const group = all.object(key);
    if (group === undefined) throw unsupportedOption(key, all.values[key], `${PLACE} config_groups`);
    return [key, group];
  });
}

function readGroup(group: ConfigReader, key: string, format: string, notes: string[]): Group {
  const where = `${PLACE} config_groups ${key}`;
  const targets = group.strings("targets");
  for (const target of targets) {
    // Names of modules begin in lower case, those of classes do not.
    if (/^[A-Z]/.test(target) && target !== "Linear") throw unsupportedOption("targets", target, where);
  }
  refuseFilled(group, "output_activations", where);
  const weights = group.object("weights");
  const inputs = group.object("input_activations");
  if (inputs !== undefined) {
    const { num_bits: bits, type, dynamic } = inputs.values;
    const how = `${dynamic === false ? "static" : "dynamic"} ${bits}-bit ${type}`;
    notes.push(`${key} has input_activations (${how}): inputs of products are not rounded here.`);
  }
  return {
    named: modulePatterns(
      targets.filter((target) => target !== "Linear"),
      `${where} targets`,
    ),
    linear: targets.includes("Linear"),
    storage: weights && readStorage(weights, group.string("format", format), where),
  };
}

/** How a format of compressed-tensors stores weights with these arguments. */
function readStorage(weights: ConfigReader, format: string, where: string): WeightStorage | undefined {
  const place = `${where} weights`;
  const bits = weights.count("num_bits", 8);
  const type = weights.string("type", "int").toLowerCase();
  const symmetric = weights.boolean("symmetric", true);
  const group = weights.number("group_size", -1);
  const strategy = weights.string(
    "strategy",
    group > 0 ? "group" : group === -1 && weights.has("group_size") ? "channel" : "tensor",
  );
  const refuse = (key: string): never => {
    throw unsupportedOption(key, weights.values[key] ?? strategy, place);
  };
  const expect = (holds: boolean, key: string) => holds || refuse(key);
  expect(weights.values.dynamic === undefined || weights.values.dynamic === false, "dynamic");
  const integers = () => {
    expect(type === "int", "type");
    expect(strategy === "group" || strategy === "channel", "strategy");
    if (strategy === "group") expect(Number.isSafeInteger(group) && group > 0, "group_size");
    return strategy === "group" ? group : undefined;
  };
  const floats = (size: number, kind: string) => {
    expect(type === "float", "type");
    expect(bits === 4, "num_bits");
    expect(symmetric, "symmetric");
    expect(strategy === kind, "strategy");
    expect(group === size, "group_size");
  };
  switch (format) {
    case "dense":
      return undefined;
    case "pack-quantized": {
      const size = integers();
      if (bits !== 4 && bits !== 8) return refuse("num_bits");
      return packedIntegers({ bits, group: size, symmetric });
    }
    case "int-quantized":
    case "float-quantized":
    case "naive-quantized": {
      expect(bits === 8, "num_bits");
      if (type === "int") return plainIntegers({ bits: 8, group: integers(), symmetric }, format);
      expect(type === "float", "type");
      expect(symmetric, "symmetric");
      return scaledE4m3(sharingOf(weights, strategy) ?? refuse("strategy"), format);
    }
    case "mxfp4-pack-quantized":
      floats(32, "group");
      return MXFP4;
    case "nvfp4-pack-quantized":
      floats(16, "tensor_group");
      return NVFP4;
    default:
      throw unsupportedOption("format", format, where);
  }
}

function sharingOf(weights: ConfigReader, strategy: string): Sharing | undefined {
  if (strategy === "tensor" || strategy === "channel") return strategy;
  if (strategy !== "block") return undefined;
  // Older versions wrote "128x128".
  const given = weights.values.block_structure;
  const [rows = 0, columns = 0] =
    typeof given === "string" ? given.split("x").map(Number) : weights.integers("block_structure");
  return [rows, columns].every((size) => Number.isSafeInteger(size) && size > 0) ? [rows, columns] : undefined;
}

/** Refuses an object that says something. */
function refuseFilled(config: ConfigReader, key: string, where = PLACE): void {
  const value = config.values[key];
  if (value === undefined || value === null) return;
  if (typeof value === "object" && Object.keys(value).length === 0) return;
  // What older versions wrote of checkpoints without sparse weights.
  if (typeof value === "object" && (value as { format?: unknown }).format === "dense") return;
  throw unsupportedOption(key, value, where);
}

/** The error for an option of `quantization_config` that is not supported. */
export function unsupportedOption(key: string, value: unknown, where: string): ReamError {
  return new ReamError(
    "CONFIG_UNSUPPORTED",
    `${key} ${JSON.stringify(value) ?? "is missing, which"} is not supported`,
    {
      where,
      hint: "Use another checkpoint of the same model, for example one whose weights alone are quantised.",
    },
  );
}
