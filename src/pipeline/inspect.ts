import type { Checkpoint } from "../checkpoint/checkpoint.js";
import type { TensorInfo } from "../checkpoint/tensor.js";
import { METHODS } from "../compress/settings.js";
import { isMoe, type LayerDescription, type ModelDescription } from "../model/description.js";
import { countParameters, type ParameterCount } from "../model/parameters.js";
import { type Quantisation, quantisationOf, storedNumbers } from "../model/quantisation.js";
import { weightBytes } from "../model/read-weight.js";
import { type LayerKinds, layerKinds } from "./inspect/layer-kinds.js";
import { type QuantisedParts, quantisedParts } from "./inspect/quantisation.js";
import { type ReducedSize, reducedSizes } from "./inspect/reduced-sizes.js";
import { type RouterRule, routerRule } from "./inspect/router-rule.js";
import { type Share, type Shares, shareOut, TENSOR_PARTS, type TensorPart } from "./inspect/tensor-parts.js";
import { type OpenedModel, type OpenModelContext, openModel } from "./open-model.js";
import { compressedModel, predictionTensors } from "./prediction-layers.js";

export interface LayerSizes {
  readonly layer: number;
  readonly kind: LayerDescription["feedForward"]["kind"];
  readonly bytes: number;
  readonly expertBytes: number;
  /** Bytes of its weights as they are read: of a quantised layer decoded. */
  readonly readBytes: number;
}

/** What a checkpoint is, where its bytes are, and what compressing it takes. All sizes are bytes. */
export interface Inspection {
  readonly model: string;
  readonly folder: string;
  readonly family: string;
  readonly layers: number;
  readonly moeLayers: number;
  readonly layerKinds: LayerKinds;
  readonly experts: number;
  readonly topK: number;
  readonly expertWidth: number;
  /** Width of the shared expert beside them; 0: there is none. */
  readonly sharedWidth: number;
  /** How routed experts are stored, for people. */
  readonly expertStorage: string;
  readonly router: RouterRule;
  readonly hiddenSize: number;
  readonly vocabularySize: number;
  readonly maxPositions: number;
  /** Layers for multi-token prediction; undefined: there are none. */
  readonly predictionLayers: PredictionLayers | undefined;
  /** Parts outside the text model, by what the names of their tensors begin with. */
  readonly otherParts: Readonly<Record<string, Share>>;
  readonly files: number;
  readonly tensors: number;
  /** Numbers of everything in the checkpoint. */
  readonly parameters: number;
  /** Numbers of the text model, without layers for multi-token prediction, and those that a token passes. */
  readonly textParameters: ParameterCount;
  readonly bytes: number;
  readonly dtypes: Readonly<Record<string, number>>;
  readonly where: Readonly<Record<TensorPart, number>>;
  readonly perLayer: readonly LayerSizes[];
  /** Undefined: the weights are plain floats. */
  readonly quantisation: QuantisedParts | undefined;
  /** Sizes after compression in the source's own format, exact. */
  readonly compressed: readonly ReducedSize[];
  readonly memory: MemoryEstimate;
  readonly warnings: readonly string[];
}

/** Layers for multi-token prediction. */
export interface PredictionLayers {
  /** Undefined: their layout is not known, so that they are copied with all their experts or dropped. */
  readonly layers: number | undefined;
  readonly tensors: number;
}

/** Estimate of the memory that compressing needs. */
export interface MemoryEstimate {
  readonly sequences: number;
  readonly length: number;
  /** Of these `hiddenStates` is the part that grows with the calibration tokens. */
  readonly bytes: number;
  readonly layerWeights: number;
  readonly hiddenStates: number;
  readonly samples: number;
  readonly program: number;
}

export interface InspectOptions extends OpenModelContext {
  /** Calibration set of the memory estimate. */
  readonly sequences?: number;
  readonly length?: number;
}

/** Describes a folder or hub id without running it. Errors: those of opening a model. */
export async function inspect(name: string, options: InspectOptions = {}): Promise<Inspection> {
  const opened = await openModel(name, options);
  try {
    return describe(opened, options.sequences ?? 3072, options.length ?? 512);
  } finally {
    await opened.checkpoint.close();
  }
}

/** The memory that compressing a model needs, estimated for a calibration set. */
export function memoryEstimate({ checkpoint, model }: OpenedModel, sequences: number, length: number): MemoryEstimate {
  return estimateMemory(model, layerSizes(checkpoint, model), sequences, length);
}

function describe(opened: OpenedModel, sequences: number, length: number): Inspection {
  const { name, folder, checkpoint, model } = opened;
  const tensors = [...checkpoint.tensors.values()];
  const quantisation = quantisationOf(checkpoint);
  const dtypes: Record<string, number> = {};
  for (const { dtype, bytes } of tensors) dtypes[dtype] = (dtypes[dtype] ?? 0) + bytes;
  const moeLayers = model.layers.filter(isMoe);
  const { experts, router, shared } = moeLayers[0]!.feedForward;
  const { parts, others } = shareOut(checkpoint, model);
  const perLayer = layerSizes(checkpoint, model);
  return {
    model: name,
    folder,
    family: model.family,
    layers: model.layers.length,
    moeLayers: moeLayers.length,
    layerKinds: layerKinds(model),
    experts: model.experts,
    topK: model.topK,
    expertWidth: experts.width,
    sharedWidth: shared?.up.shape[0] ?? 0,
    expertStorage: experts.form,
    router: routerRule(router),
    hiddenSize: model.hiddenSize,
    vocabularySize: model.vocabularySize,
    maxPositions: model.maxPositions,
    predictionLayers: predictionLayers(checkpoint, model),
    otherParts: others,
    files: new Set(tensors.map(({ file }) => file)).size,
    tensors: tensors.length,
    parameters: sum(Object.values(parts).map(({ parameters }) => parameters)),
    textParameters: textParameters(model, parts),
    bytes: sum(tensors.map(({ bytes }) => bytes)),
    dtypes,
    where: Object.fromEntries(TENSOR_PARTS.map((part) => [part, parts[part].bytes])) as Inspection["where"],
    perLayer,
    quantisation: quantisedParts(checkpoint, model),
    compressed: reducedSizes(checkpoint, model),
    memory: estimateMemory(model, perLayer, sequences, length),
    warnings: [
      ...checkpoint.warnings,
      ...(quantisation !== undefined && "notes" in quantisation ? quantisation.notes : []),
    ],
  };
}

function predictionLayers(checkpoint: Checkpoint, model: ModelDescription): PredictionLayers | undefined {
  const tensors = predictionTensors(checkpoint, model).length;
  if (tensors === 0) return undefined;
  const added = compressedModel(checkpoint, model).layers.length - model.layers.length;
  return { layers: added === 0 ? undefined : added, tensors };
}

/** What lies in a layer without being named (an indexer) is passed by every token. */
function textParameters(model: ModelDescription, parts: Shares["parts"]): ParameterCount {
  const own = TENSOR_PARTS.filter((part) => part !== "predictionLayers" && part !== "otherParts");
  const stored = sum(own.map((part) => parts[part].parameters));
  const { total, active } = countParameters(model);
  return { total: stored, active: stored - (total - active) };
}

function sizeOf(checkpoint: Checkpoint, names: Iterable<string>): number {
  return sum([...new Set(names)].map((name) => weightBytes(checkpoint, name)));
}

/** FP8 of DeepSeek is decoded to float32, other formats to 16 bits; codes alone are numbers, scales are none. */
function readBytes(tensor: TensorInfo, quantisation: Quantisation | undefined): number {
  const numbers = storedNumbers(tensor, quantisation);
  const isFloat = numbers > 0 && 8 * tensor.bytes >= 16 * numbers;
  if (quantisation === undefined || isFloat) return tensor.bytes;
  return numbers * (quantisation.method === "fp8-blocks" ? 4 : 2);
}

function layerSizes(checkpoint: Checkpoint, model: ModelDescription): LayerSizes[] {
  const tensors = [...checkpoint.tensors.values()];
  const quantisation = quantisationOf(checkpoint);
  return model.layers.map((layer) => {
    const own = tensors.filter((tensor) => tensor.name.startsWith(layer.prefix));
    return {
      layer: layer.index,
      kind: layer.feedForward.kind,
      bytes: sum(own.map((tensor) => tensor.bytes)),
      readBytes: sum(own.map((tensor) => readBytes(tensor, quantisation))),
      expertBytes: isMoe(layer) ? sizeOf(checkpoint, layer.feedForward.experts.names) : 0,
    };
  });
}

/** Memory of the program itself with the buffers of a batch, measured on small models. */
const PROGRAM_BYTES = 250e6;

/**
 * memory = 3 x weights of the largest layer + 4 x tokens x hidden + 4 x samples x (hidden + 2 x width) + the program.
 * A layer is held as it is read, made ready for products, and once more while its merged experts are; the hidden states of
 * all calibration tokens and the tokens sampled for the alignment, with the activations of two experts, are float32.
 */
function estimateMemory(
  model: ModelDescription,
  perLayer: readonly LayerSizes[],
  sequences: number,
  length: number,
): MemoryEstimate {
  const tokens = sequences * length;
  const { width } = model.layers.find(isMoe)!.feedForward.experts;
  const layerWeights = 3 * Math.max(...perLayer.map(({ readBytes }) => readBytes));
  // Between the halves of a parallel layer there are two for each token.
  const each = model.layers.some(({ parallel }) => parallel) ? 2 : 1;
  const hiddenStates = 4 * tokens * each * model.hiddenSize;
  const samples = 4 * Math.min(tokens, METHODS.ream.settings.samples) * (model.hiddenSize + 2 * width);
  const bytes = layerWeights + hiddenStates + samples + PROGRAM_BYTES;
  return { sequences, length, bytes, layerWeights, hiddenStates, samples, program: PROGRAM_BYTES };
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
