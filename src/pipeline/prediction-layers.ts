import { readFile } from "node:fs/promises";
import type { Checkpoint } from "../checkpoint/checkpoint.js";
import { ReamError } from "../errors.js";
import { checkLayerTensors } from "../model/describe.js";
import type { ModelDescription, PredictionDescription } from "../model/description.js";
import { expectWeight } from "../model/read-weight.js";
import { normTensors, projectionTensors } from "../model/tensor-list.js";
import type { OpenedModel } from "./open-model.js";
import type { ResolvedCompressOptions } from "./options.js";

/** A model with what happens to its layers for multi-token prediction (MTP), which transformers ignores. */
export interface PreparedModel extends OpenedModel {
  /** Those that are compressed: they are the last layers of the model. */
  readonly predictions: readonly PredictionDescription[];
  /** Names of tensors that the output leaves out. */
  readonly omitted: ReadonlySet<string>;
  /** What happens to them; undefined where the model has none with experts. */
  readonly predictionLayers: "compressed" | "dropped" | "kept" | undefined;
  readonly notes: readonly string[];
}

/**
 * Decides about the layers for multi-token prediction. They are compressed where their layout is known and the calibration
 * text runs or the plan has them; else they are kept with all their experts, which a note says, or a SETTINGS_CONFLICT where
 * they were to be compressed.
 */
export async function prepareModel(options: ResolvedCompressOptions, opened: OpenedModel): Promise<PreparedModel> {
  const { checkpoint, model } = opened;
  const names = predictionTensors(checkpoint, model);
  const common = { ...opened, predictions: [], omitted: new Set<string>(), notes: [] };
  if (!names.some((name) => /\b(experts|moe)\b/.test(name))) return { ...common, predictionLayers: undefined };
  const { predictionLayers: wanted } = options;
  if (wanted === "drop") {
    const notes = [`${names.length} tensors of layers for multi-token prediction are dropped.`];
    return { ...common, predictionLayers: "dropped", omitted: new Set(names), notes };
  }
  const obstacle = wanted === "keep" ? "" : await obstacleOf(options, opened);
  if (obstacle === undefined) {
    const predictions = model.predictions!;
    const layers = predictions.length === 1 ? "The layer" : `${predictions.length} layers`;
    const notes = [`${layers} for multi-token prediction ${predictions.length === 1 ? "is" : "are"} compressed too.`];
    return { ...common, model: withPredictions(model), predictions, predictionLayers: "compressed", notes };
  }
  if (wanted === "compress") {
    throw new ReamError("SETTINGS_CONFLICT", `layers for multi-token prediction cannot be compressed: ${obstacle}`, {
      where: "--prediction-layers",
      hint: "Leave it out to keep them as they are, or give drop.",
    });
  }
  const note =
    `${names.length} tensors of layers for multi-token prediction are copied as they are, with ${model.experts} experts` +
    `${obstacle === "" ? "" : ` (${obstacle})`}: ` +
    "engines that use these layers will not find the number of experts that config.json tells.";
  return { ...common, predictionLayers: "kept", notes: [note] };
}

/** The model as it is compressed by default: with its layers for multi-token prediction, where their layout is known. */
export function compressedModel(checkpoint: Checkpoint, model: ModelDescription): ModelDescription {
  return areKnown(checkpoint, model) ? withPredictions(model) : model;
}

function withPredictions(model: ModelDescription): ModelDescription {
  return { ...model, layers: [...model.layers, ...(model.predictions ?? []).map(({ layer }) => layer)] };
}

function areKnown(checkpoint: Checkpoint, model: ModelDescription): boolean {
  const { predictions = [] } = model;
  return predictions.length > 0 && predictions.every((prediction) => isWhole(checkpoint, model, prediction));
}

/** Why the layers cannot be compressed; undefined where they can. */
async function obstacleOf(
  { observed, plan }: ResolvedCompressOptions,
  { checkpoint, model }: OpenedModel,
): Promise<string | undefined> {
  if (!areKnown(checkpoint, model)) return "their layout is not known";
  if (plan !== undefined) return (await hasPredictions(plan, model)) ? undefined : "the plan has no layers of theirs";
  return observed === undefined ? undefined : "observations have no statistics of them";
}

/** Names of tensors of the layers: they lie behind the decoder's last one, or under `mtp.`. */
export function predictionTensors(checkpoint: Checkpoint, { layers }: ModelDescription): string[] {
  const stack = layers[0]!.prefix.slice(0, -"0.".length);
  return [...checkpoint.tensors.keys()].filter((name) => {
    if (name.startsWith("mtp.") || name.startsWith("model.mtp.")) return true;
    const index = name.startsWith(stack) ? /^\d+/.exec(name.slice(stack.length))?.[0] : undefined;
    return index !== undefined && Number(index) >= layers.length;
  });
}

/** Whether all of a layer's tensors are there in their shapes. */
function isWhole(checkpoint: Checkpoint, model: ModelDescription, prediction: PredictionDescription): boolean {
  const { layer, projection, embeddingNorm, hiddenNorm, outputNorm } = prediction;
  const own = [...projectionTensors(projection), ...[embeddingNorm, hiddenNorm, outputNorm].flatMap(normTensors)];
  try {
    for (const { name, shape } of own) expectWeight(checkpoint, name, shape);
    checkLayerTensors(checkpoint, model, layer);
    return true;
  } catch (error) {
    if (error instanceof ReamError) return false;
    throw error;
  }
}

/** Whether a plan's file has layers behind the decoder's. One that cannot be read has none here, and is refused later. */
async function hasPredictions(file: string, { layers }: ModelDescription): Promise<boolean> {
  try {
    const value = JSON.parse(await readFile(file, "utf8"));
    const planned: unknown = (value?.plan ?? value)?.layers;
    return Array.isArray(planned) && planned.some((layer) => layer?.layer >= layers.length);
  } catch {
    return false;
  }
}
