import type { Checkpoint } from "../../checkpoint/checkpoint.js";
import { ConfigReader } from "../../model/config.js";
import { isMoe, type ModelDescription } from "../../model/description.js";
import { type LinearPart, linearWeights } from "../../model/linear-weights.js";
import { DEFAULT_BLOCK, quantisationConfig, quantisationOf } from "../../model/quantisation.js";

/** How the weights of a checkpoint are quantised, and which are not. */
export interface QuantisedParts {
  readonly method: NonNullable<ModelDescription["quantisation"]>;
  /** For people. */
  readonly inWords: string;
  /** Matrices of each part that are quantised, and that are not. */
  readonly matrices: Readonly<Record<string, { readonly quantised: number; readonly plain: number }>>;
}

const FLOATS: ReadonlySet<string> = new Set(["F64", "F32", "F16", "BF16"]);

/** Undefined where no weight is quantised. */
export function quantisedParts(checkpoint: Checkpoint, model: ModelDescription): QuantisedParts | undefined {
  const quantisation = quantisationOf(checkpoint);
  if (quantisation === undefined) return undefined;
  const matrices: Record<string, { quantised: number; plain: number }> = {};
  const count = (part: string, name: string) => {
    const { quantised, plain } = matrices[part] ?? { quantised: 0, plain: 0 };
    const isPlain = FLOATS.has(checkpoint.tensors.get(name)?.dtype ?? "");
    matrices[part] = isPlain ? { quantised, plain: plain + 1 } : { quantised: quantised + 1, plain };
  };
  for (const layer of model.layers) {
    const experts = isMoe(layer) ? layer.feedForward.experts.names : [];
    const own = new Set(experts);
    // Experts that share a tensor are quantised together.
    for (const { part, name, expert } of linearWeights(layer))
      count(WORDS[part], expert === undefined || own.has(name) ? name : experts[0]!);
    if (isMoe(layer)) count("routers", layer.feedForward.router.weight);
  }
  count("embedding", model.embedding);
  if (model.outputHead.weight !== model.embedding) count("output matrix", model.outputHead.weight);
  const config = quantisationConfig(new ConfigReader(checkpoint.config))!;
  return { method: quantisation.method, inWords: inWords(config), matrices };
}

const WORDS: Readonly<Record<LinearPart, string>> = {
  experts: "experts",
  shared: "shared experts",
  dense: "dense blocks",
  attention: "attention",
};

function inWords(config: ConfigReader): string {
  const method = config.string("quant_method");
  switch (method) {
    case "mxfp4":
      return "MXFP4: 4-bit floats, a scale for every 32";
    case "fp8": {
      const block = config.integers("weight_block_size");
      return `FP8 (E4M3), a scale for each block of ${(block.length === 0 ? DEFAULT_BLOCK : block).join(" x ")}`;
    }
    case "gptq":
    case "awq":
      return `${method.toUpperCase()}: ${config.number("bits", 4)}-bit integers, ${sharing(config.number("group_size", 128))}`;
    default:
      return `${method}: ${[...new Set(groupsInWords(config))].join("; ")}`;
  }
}

/** The config groups of compressed-tensors, whose values were checked when the model was described. */
function groupsInWords(config: ConfigReader): string[] {
  const groups = config.object("config_groups")!;
  return Object.keys(groups.values).flatMap((key) => {
    const group = groups.object(key)!;
    const weights = group.object("weights");
    if (weights === undefined) return [];
    const kind = weights.string("type", "int").toLowerCase() === "int" ? "integers" : "floats";
    const format = group.string("format", config.string("format", ""));
    const structure = weights.values.block_structure;
    const block = Array.isArray(structure) ? structure.join(" x ") : structure;
    const scales =
      block === undefined || block === null
        ? sharing(weights.number("group_size", -1), weights.string("strategy", ""))
        : `a scale for each block of ${block}`;
    return [`${weights.count("num_bits", 8)}-bit ${kind}, ${scales} (${format})`];
  });
}

function sharing(group: number, strategy = ""): string {
  if (group > 0) return `a scale for every ${group} columns`;
  return strategy === "tensor" ? "a scale for each matrix" : "a scale for each row";
}
