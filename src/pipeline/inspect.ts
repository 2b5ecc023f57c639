import { tensorBytes } from "../checkpoint/safetensors-encode.js";
import { METHODS } from "../compress/settings.js";
import { isMoe, type LayerDescription, type ModelDescription } from "../model/description.js";
import { quantisationOf, storedNumbers } from "../model/quantisation.js";
import { weightBytes } from "../model/read-weight.js";
import { routerNames } from "../model/router.js";
import { layerTensors } from "../model/tensor-list.js";
import { expertTargets } from "./expert-targets.js";
import { type OpenedModel, type OpenModelContext, openModel } from "./open-model.js";
import { outputTensors } from "./output-layout.js";
import { compressedModel } from "./prediction-layers.js";

/** Where the bytes of a checkpoint are. */
export interface ByteShares {
  readonly routedExperts: number;
  readonly routers: number;
  /** Attention, or what stands in its place. */
  readonly attention: number;
  /** Embedding and output matrix. */
  readonly embeddings: number;
  /** Norms, dense feed-forward blocks, and everything that the description does not name. */
  readonly rest: number;
}

export interface LayerSizes {
  readonly layer: number;
  readonly kind: LayerDescription["feedForward"]["kind"];
  readonly bytes: number;
  readonly expertBytes: number;
}

/** What a checkpoint is, where its bytes are, and what compressing it takes. All sizes are bytes. */
export interface Inspection {
  readonly model: string;
  readonly folder: string;
  readonly family: string;
  readonly layers: number;
  readonly moeLayers: number;
  readonly experts: number;
  readonly topK: number;
  readonly expertWidth: number;
  readonly hiddenSize: number;
  readonly vocabularySize: number;
  readonly maxPositions: number;
  readonly files: number;
  readonly tensors: number;
  readonly parameters: number;
  readonly bytes: number;
  readonly dtypes: Readonly<Record<string, number>>;
  readonly where: ByteShares;
  readonly perLayer: readonly LayerSizes[];
  /** Undefined: the weights are plain floats. */
  readonly quantisation: ModelDescription["quantisation"];
  /**
   * Sizes after compression, exact: the output's tensors are laid out as they would be written. None of a quantised model,
   * which is not compressed.
   */
  readonly compressed: readonly { readonly experts: number; readonly bytes: number }[];
  readonly memory: MemoryEstimate;
  readonly warnings: readonly string[];
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

function describe({ name, folder, checkpoint, model }: OpenedModel, sequences: number, length: number): Inspection {
  const tensors = [...checkpoint.tensors.values()];
  const quantisation = quantisationOf(checkpoint);
  const dtypes: Record<string, number> = {};
  for (const { dtype, bytes } of tensors) dtypes[dtype] = (dtypes[dtype] ?? 0) + bytes;
  const size = (names: Iterable<string>) => sizeOf(checkpoint, names);
  const moeLayers = model.layers.filter(isMoe);
  const bytes = sum(tensors.map((tensor) => tensor.bytes));
  const named = {
    routedExperts: size(moeLayers.flatMap(({ feedForward }) => feedForward.experts.names)),
    routers: size(moeLayers.flatMap(({ feedForward }) => routerNames(feedForward.router))),
    attention: size(
      model.layers.flatMap((layer) => layerTensors(layer, model.hiddenSize).mixer.map(({ name }) => name)),
    ),
    embeddings: size([model.embedding, model.outputHead.weight]),
  };
  const target = compressedModel(checkpoint, model);
  const perLayer = layerSizes(checkpoint, model);
  return {
    model: name,
    folder,
    family: model.family,
    layers: model.layers.length,
    moeLayers: moeLayers.length,
    experts: model.experts,
    topK: model.topK,
    expertWidth: moeLayers[0]!.feedForward.experts.width,
    hiddenSize: model.hiddenSize,
    vocabularySize: model.vocabularySize,
    maxPositions: model.maxPositions,
    files: new Set(tensors.map(({ file }) => file)).size,
    tensors: tensors.length,
    parameters: sum(tensors.map((tensor) => storedNumbers(tensor, quantisation))),
    bytes,
    dtypes,
    where: { ...named, rest: bytes - sum(Object.values(named)) },
    perLayer,
    quantisation: model.quantisation,
    compressed: expertTargets(model).map((experts) => ({
      experts,
      bytes: sum(outputTensors(checkpoint, target, experts, undefined).map(tensorBytes)),
    })),
    memory: estimateMemory(model, perLayer, sequences, length),
    warnings: [
      ...checkpoint.warnings,
      ...(quantisation !== undefined && "notes" in quantisation ? quantisation.notes : []),
    ],
  };
}

function sizeOf(checkpoint: OpenedModel["checkpoint"], names: Iterable<string>): number {
  return sum([...new Set(names)].map((name) => weightBytes(checkpoint, name)));
}

function layerSizes(checkpoint: OpenedModel["checkpoint"], model: ModelDescription): LayerSizes[] {
  const tensors = [...checkpoint.tensors.values()];
  return model.layers.map((layer) => {
    const own = tensors.filter((tensor) => tensor.name.startsWith(layer.prefix));
    return {
      layer: layer.index,
      kind: layer.feedForward.kind,
      bytes: sum(own.map((tensor) => tensor.bytes)),
      expertBytes: isMoe(layer) ? sizeOf(checkpoint, layer.feedForward.experts.names) : 0,
    };
  });
}

/** Memory of the program itself with the buffers of a batch, measured on small models. */
const PROGRAM_BYTES = 250e6;

/**
 * memory = 3 x weights of the largest layer + 4 x tokens x hidden + 4 x samples x (hidden + 2 x width) + the program.
 * A layer is held as stored, made ready for products, and once more while its merged experts are; the hidden states of
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
  const layerWeights = 3 * Math.max(...perLayer.map(({ bytes }) => bytes));
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
