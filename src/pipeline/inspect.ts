import type { Checkpoint } from "../checkpoint/checkpoint.js";
import { METHODS } from "../compress/settings.js";
import { isMoe, type LayerDescription, type ModelDescription } from "../model/description.js";
import { countParameters, type ParameterCount } from "../model/parameters.js";
import { quantisationOf, storedNumbers } from "../model/quantisation.js";
import { weightBytes } from "../model/read-weight.js";
import { type LayerKinds, layerKinds } from "./inspect/layer-kinds.js";
import { type QuantisedParts, quantisedParts } from "./inspect/quantisation.js";
import { type ReducedSize, reducedSizes } from "./inspect/reduced-sizes.js";
import { type RouterRule, routerRule } from "./inspect/router-rule.js";
import { type Share, type Shares, shareOut, TENSOR_PARTS, type TensorPart } from "./inspect/tensor-parts.js";
import { estimateMemory, type MemoryEstimate, type MemoryWork } from "./memory-estimate.js";
import { type OpenedModel, type OpenModelContext, openModel } from "./open-model.js";
import { RANDOM_SHARE } from "./options.js";
import { compressedModel, predictionTensors } from "./prediction-layers.js";

export interface LayerSizes {
  readonly layer: number;
  readonly kind: LayerDescription["feedForward"]["kind"];
  readonly bytes: number;
  readonly expertBytes: number;
  /** Numbers of its weights, however they are stored. */
  readonly numbers: number;
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

/** The memory that compressing a model needs, estimated. */
export function memoryEstimate({ checkpoint, model }: OpenedModel, work: MemoryWork): MemoryEstimate {
  return estimateMemory(
    model,
    layerSizes(checkpoint, model).map(({ numbers }) => numbers),
    work,
  );
}

/** That of a compression by default in bfloat16, a quarter of the experts merged into others. */
function usualWork({ experts }: ModelDescription, sequences: number, length: number): MemoryWork {
  const refit = { parts: "all", tokens: undefined, random: RANDOM_SHARE } as const;
  const kept = Math.ceil(0.75 * experts);
  return { sequences, length, precision: "bf16", kept, settings: METHODS.ream.settings, refit };
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
    memory: memoryEstimate(opened, usualWork(model, sequences, length)),
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

function layerSizes(checkpoint: Checkpoint, model: ModelDescription): LayerSizes[] {
  const tensors = [...checkpoint.tensors.values()];
  const quantisation = quantisationOf(checkpoint);
  return model.layers.map((layer) => {
    const own = tensors.filter((tensor) => tensor.name.startsWith(layer.prefix));
    return {
      layer: layer.index,
      kind: layer.feedForward.kind,
      bytes: sum(own.map((tensor) => tensor.bytes)),
      numbers: sum(own.map((tensor) => storedNumbers(tensor, quantisation))),
      expertBytes: isMoe(layer) ? sizeOf(checkpoint, layer.feedForward.experts.names) : 0,
    };
  });
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
