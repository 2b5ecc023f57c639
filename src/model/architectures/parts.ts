import type { Activation } from "../../engine/backend.js";
import { ReamError } from "../../errors.js";
import { readActivation } from "../activation.js";
import { type ConfigReader, MOST_EXPERTS, MOST_LAYERS } from "../config.js";
import type {
  DenseDescription,
  LayerDescription,
  ModelDescription,
  MoeDescription,
  Norm,
  Projection,
  RouterDescription,
  Sublayer,
} from "../description.js";
import { type ExpertPart, type ExpertStorage, separateExperts } from "../expert-storage.js";
import type { AttentionDescription } from "../mixers/descriptions.js";
import type { RopeDescription } from "../rope.js";
import { type StackedOptions, stackedExperts } from "../storage/stacked.js";

/** Tells which tensors a checkpoint has, and their shapes: some families are stored in more than one layout. */
export interface TensorNames {
  has(name: string): boolean;
  /** Where a multimodal checkpoint has the text model; undefined: `model.` and `lm_head`. */
  readonly root?: { readonly prefix: string; readonly head: string; readonly tied: boolean };
  readonly tensors?: ReadonlyMap<string, { readonly shape: readonly number[] }>;
}

/** Sizes and choices that every family has, read from config.json. */
export interface Frame {
  readonly config: ConfigReader;
  readonly tensors: TensorNames;
  readonly hidden: number;
  readonly layers: number;
  readonly epsilon: number;
  readonly experts: number;
  readonly topK: number;
  readonly activation: Activation;
}

/** Names under which configs have the number of experts. */
const EXPERT_KEYS = ["num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts"];

export function readFrame(
  config: ConfigReader,
  tensors: TensorNames,
  keys: {
    readonly topK?: string;
    readonly epsilon?: string;
    readonly defaultEpsilon?: number;
    readonly activation?: string;
  } = {},
): Frame {
  return {
    config,
    tensors,
    hidden: config.count("hidden_size"),
    layers: config.count("num_hidden_layers", undefined, MOST_LAYERS),
    epsilon: config.number(keys.epsilon ?? "rms_norm_eps", keys.defaultEpsilon ?? 1e-6),
    experts: config.uniformCount(EXPERT_KEYS, MOST_EXPERTS),
    topK: config.uniformCount([keys.topK ?? "num_experts_per_tok"]),
    activation: readActivation(config, keys.activation),
  };
}

/** What an architecture says of a layer. */
export type DecoderLayer = Omit<LayerDescription, "index" | "prefix">;

/** The model around its layers, as most families have it; `options` says what differs. */
export function describeDecoder(
  family: string,
  { config, tensors, hidden, layers, epsilon, experts, topK }: Frame,
  layer: (index: number, prefix: string) => DecoderLayer,
  options: {
    /** What the names of the decoder's tensors start with. */
    readonly prefix?: string;
    readonly head?: string;
    readonly tied?: boolean;
    /** How the list of layers is called. */
    readonly stack?: string;
  } & Partial<ModelDescription> = {},
): ModelDescription {
  const { prefix = tensors.root?.prefix ?? "model.", head = tensors.root?.head ?? "lm_head", ...others } = options;
  const { tied = tensors.root?.tied ?? config.boolean("tie_word_embeddings", false), ...more } = others;
  const { stack = "layers", ...rest } = more;
  const vocabulary = config.count("vocab_size");
  const embedding = `${prefix}embed_tokens.weight`;
  return {
    family,
    hiddenSize: hidden,
    vocabularySize: vocabulary,
    maxPositions: config.count(["max_position_embeddings", "model_max_length"]),
    embedding,
    finalNorm: rmsNorm(`${prefix}norm.weight`, hidden, epsilon),
    outputHead: { weight: tied ? embedding : `${head}.weight`, shape: [vocabulary, hidden] },
    experts,
    topK,
    layers: Array.from({ length: layers }, (_, index) => {
      const layerPrefix = `${prefix}${stack}.${index}.`;
      return { index, prefix: layerPrefix, ...layer(index, layerPrefix) };
    }),
    ...rest,
  };
}

export function rmsNorm(weight: string, size: number, epsilon: number): Norm {
  return { kind: "rms", weight, size, epsilon };
}

/** A sublayer whose input is normed. */
export function preNorm(weight: string, { hidden, epsilon }: Frame): Sublayer {
  return { inputNorm: rmsNorm(weight, hidden, epsilon) };
}

/** `name.weight` `[out, in]`, with `name.bias` where there is one. */
export function linear(name: string, shape: readonly [number, number], bias = false): Projection {
  return { weight: `${name}.weight`, shape, ...(bias ? { bias: `${name}.bias` } : {}) };
}

/** The three matrices of a gated block; `names` of gate, up and down. */
export function gatedBlock(
  prefix: string,
  width: number,
  { hidden, activation }: Frame,
  { names = ["gate_proj", "up_proj", "down_proj"] as readonly [string, string, string], bias = false } = {},
) {
  const [gate, up, down] = names;
  return {
    gate: linear(`${prefix}${gate}`, [width, hidden], bias),
    up: linear(`${prefix}${up}`, [width, hidden], bias),
    down: linear(`${prefix}${down}`, [hidden, width], bias),
    activation,
  };
}

/**
 * Routed experts in either customary layout: one tensor for each matrix, `prefix7.gate_proj.weight` (`names` of gate, up and
 * down), or all of a layer stacked, `prefixgate_up_proj` and `prefixdown_proj` (`StackedOptions.layout`).
 */
export function readExperts(
  prefix: string,
  width: number,
  { hidden, experts, tensors }: Frame,
  names: Readonly<Record<ExpertPart, string>> = { gate: "gate_proj", up: "up_proj", down: "down_proj" },
  layout: StackedOptions["layout"] = "rows",
): ExpertStorage {
  const name = (expert: number, part: ExpertPart) => `${prefix}${expert}.${names[part]}.weight`;
  const sizes = { count: experts, width, hidden };
  if (tensors.has(name(0, "gate"))) return separateExperts({ ...sizes, name });
  return stackedExperts({
    ...{ ...sizes, layout, separate: name },
    ...{ gateUp: `${prefix}gate_up_proj`, down: `${prefix}down_proj` },
  });
}

/** Names of Mixtral's matrices. */
export const MIXTRAL_NAMES = { gate: "w1", up: "w3", down: "w2" } as const;

/** A dense block in the customary names `mlp.gate_proj`, `mlp.up_proj`, `mlp.down_proj`. */
export function denseBlock(prefix: string, frame: Frame, { bias = false } = {}): DenseDescription {
  const width = frame.config.count("intermediate_size");
  return { kind: "dense", ...gatedBlock(`${prefix}mlp.`, width, frame, { bias }) };
}

/** Routed experts below `mlp.`, chosen by softmax over `mlp.gate`. */
export function softmaxMoe(prefix: string, width: number, frame: Frame, normalise: boolean): MoeDescription {
  return {
    kind: "moe",
    activation: frame.activation,
    router: { weight: `${prefix}mlp.gate.weight`, scores: "softmax", topK: frame.topK, normalise },
    experts: readExperts(`${prefix}mlp.experts.`, width, frame),
  };
}

/** Routed experts below Mixtral's `block_sparse_moe.`; `rule` says how its router, `gate`, chooses. */
export function mixtralMoe(
  prefix: string,
  frame: Frame,
  rule: Omit<RouterDescription, "weight" | "topK">,
): MoeDescription {
  const width = frame.config.count("intermediate_size");
  return {
    kind: "moe",
    activation: frame.activation,
    router: { weight: `${prefix}block_sparse_moe.gate.weight`, topK: frame.topK, ...rule },
    experts: readExperts(`${prefix}block_sparse_moe.experts.`, width, frame, MIXTRAL_NAMES),
  };
}

/** Sizes of grouped-query attention in the customary keys. */
export function readHeads({ config, hidden }: Frame) {
  const heads = config.count("num_attention_heads");
  return {
    heads,
    keyValueHeads: config.count("num_key_value_heads", heads),
    headSize: config.count("head_dim", Math.floor(hidden / heads)),
  };
}

/** Grouped-query attention in the customary names `q_proj`, `k_proj`, `v_proj`, `o_proj`. */
export function groupedQueryAttention(
  prefix: string,
  frame: Frame,
  rope: RopeDescription | undefined,
  options: { readonly bias?: boolean; readonly outputBias?: boolean; readonly output?: string } = {},
): AttentionDescription {
  const { hidden } = frame;
  const { heads, keyValueHeads, headSize } = readHeads(frame);
  const { bias = false, outputBias = bias, output = "o_proj" } = options;
  return {
    kind: "attention",
    heads,
    keyValueHeads,
    headSize,
    scale: headSize ** -0.5,
    rope,
    query: linear(`${prefix}q_proj`, [heads * headSize, hidden], bias),
    key: linear(`${prefix}k_proj`, [keyValueHeads * headSize, hidden], bias),
    value: linear(`${prefix}v_proj`, [keyValueHeads * headSize, hidden], bias),
    output: linear(`${prefix}${output}`, [hidden, heads * headSize], outputBias),
  };
}

/** RMS norms of each query and key head. */
export function headNorms(
  prefix: string,
  headSize: number,
  epsilon: number,
  names: readonly [string, string] = ["q_norm", "k_norm"],
) {
  return {
    queryNorm: rmsNorm(`${prefix}${names[0]}.weight`, headSize, epsilon),
    keyNorm: rmsNorm(`${prefix}${names[1]}.weight`, headSize, epsilon),
  };
}

/** RMS norms of all query heads together, and of all key heads. */
export function wholeNorms(prefix: string, { heads, keyValueHeads, headSize }: AttentionDescription, epsilon: number) {
  return {
    queryNorm: rmsNorm(`${prefix}q_norm.weight`, heads * headSize, epsilon),
    keyNorm: rmsNorm(`${prefix}k_norm.weight`, keyValueHeads * headSize, epsilon),
  };
}

/** The kind of each layer by `layer_types`, else by `otherwise`. Kinds that are not `known` are refused. */
export function layerTypes<T extends string>(
  { config, layers }: Frame,
  known: readonly T[],
  otherwise: (layer: number) => T,
): readonly T[] {
  const given = config.strings("layer_types");
  if (given.length === 0) return Array.from({ length: layers }, (_, layer) => otherwise(layer));
  const wrong = given.find((type) => !(known as readonly string[]).includes(type));
  if (wrong !== undefined) refuseOption("layer_types", wrong, known);
  expectEntries("layer_types", given, layers);
  return given as readonly T[];
}

function expectEntries(key: string, given: readonly unknown[], layers: number): void {
  if (given.length >= layers) return;
  throw new ReamError("CONFIG_VALUE", `${key} has ${given.length} entries for ${layers} layers`, {
    where: `config.json ${key}`,
  });
}

/** Which layers are MoE: by `mlp_layer_types` ("dense" or "sparse"), else all from `firstMoe` on. */
export function sparseByType({ config, layers }: Frame, firstMoe: number): (layer: number) => boolean {
  const types = config.strings("mlp_layer_types");
  if (types.length === 0) return (layer) => layer >= firstMoe;
  const known = ["dense", "sparse"];
  const wrong = types.find((type) => !known.includes(type));
  if (wrong !== undefined) refuseOption("mlp_layer_types", wrong, known);
  expectEntries("mlp_layer_types", types, layers);
  // Layers behind the last one are for multi-token prediction, and sparse.
  return (layer) => (types[layer] ?? "sparse") === "sparse";
}

/** Refuses an option whose value is not one of those that are implemented. */
export function expectOption(config: ConfigReader, key: string, known: readonly unknown[]): void {
  const value = config.values[key];
  if (value !== undefined && value !== null && !known.includes(value)) refuseOption(key, value, known);
}

/** The error of an option whose value is not one of those that are implemented. */
export function refuseOption(key: string, value: unknown, known: readonly unknown[]): never {
  throw new ReamError("CONFIG_UNSUPPORTED", `${key} ${JSON.stringify(value)} is not supported`, {
    where: `config.json ${key}`,
    hint: `Supported: ${known.map((one) => JSON.stringify(one)).join(", ")}.`,
  });
}
