import type { Checkpoint } from "../../checkpoint/checkpoint.js";
import type { ModelDescription } from "../../model/description.js";
import { isMoe } from "../../model/description.js";
import { linearWeights } from "../../model/linear-weights.js";
import { quantisationOf, storedNumbers } from "../../model/quantisation.js";
import { storedNames } from "../../model/read-weight.js";
import { routerNames } from "../../model/router.js";
import { layerTensors } from "../../model/tensor-list.js";
import { predictionTensors } from "../prediction-layers.js";

/** What the tensors of a checkpoint belong to. */
export const TENSOR_PARTS = [
  "routedExperts",
  "sharedExperts",
  "denseBlocks",
  "routers",
  /** Attention, or what stands in its place. */
  "attention",
  /** Embedding and output matrix. */
  "embeddings",
  /** Layers for multi-token prediction, with their experts. */
  "predictionLayers",
  /** Everything outside the text model: vision towers, projectors ... */
  "otherParts",
  /** Norms, and what lies in a layer without being named by the description. */
  "rest",
] as const;
export type TensorPart = (typeof TENSOR_PARTS)[number];

export interface Share {
  /** Bytes of all tensors, the scales of quantised weights with them. */
  readonly bytes: number;
  readonly parameters: number;
}

/** Bytes and numbers of a checkpoint by what they belong to. */
export interface Shares {
  readonly parts: Readonly<Record<TensorPart, Share>>;
  /** The other parts one by one, by what their names begin with. */
  readonly others: Readonly<Record<string, Share>>;
}

/** Adds up a checkpoint: every tensor is in exactly one part. */
export function shareOut(checkpoint: Checkpoint, model: ModelDescription): Shares {
  const quantisation = quantisationOf(checkpoint);
  const partOf = partsOfTensors(checkpoint, model);
  const parts = Object.fromEntries(TENSOR_PARTS.map((part) => [part, { bytes: 0, parameters: 0 }])) as Record<
    TensorPart,
    Share
  >;
  const others: Record<string, Share> = {};
  for (const info of checkpoint.tensors.values()) {
    const share = { bytes: info.bytes, parameters: storedNumbers(info, quantisation) };
    const part = partOf.get(info.name)!;
    parts[part] = add(parts[part], share);
    if (part !== "otherParts") continue;
    const name = beginning(info.name, model.embedding);
    others[name] = add(others[name] ?? { bytes: 0, parameters: 0 }, share);
  }
  return { parts, others };
}

function add(a: Share, b: Share): Share {
  return { bytes: a.bytes + b.bytes, parameters: a.parameters + b.parameters };
}

function partsOfTensors(checkpoint: Checkpoint, model: ModelDescription): Map<string, TensorPart> {
  const parts = new Map<string, TensorPart>();
  for (const { name } of checkpoint.tensors.values()) {
    const inLayer = model.layers.some(({ prefix }) => name.startsWith(prefix));
    parts.set(name, inLayer ? "rest" : "otherParts");
  }
  for (const name of predictionTensors(checkpoint, model)) parts.set(name, "predictionLayers");
  const put = (part: TensorPart, names: Iterable<string>) => {
    for (const name of names) for (const stored of storedNames(checkpoint, name)) parts.set(stored, part);
  };
  for (const layer of model.layers) {
    const { mixer, feedForward, norms } = layerTensors(layer, model.hiddenSize);
    const names = (tensors: readonly { readonly name: string }[]) => tensors.map(({ name }) => name);
    put("rest", names(norms));
    put("attention", names(mixer));
    put(isMoe(layer) ? "rest" : "denseBlocks", names(feedForward));
    if (!isMoe(layer)) continue;
    put("sharedExperts", names(linearWeights(layer).filter(({ part }) => part === "shared")));
    put("routers", routerNames(layer.feedForward.router));
    put("routedExperts", layer.feedForward.experts.names);
  }
  const { weight, bias } = model.outputHead;
  const { finalNorm } = model;
  put(
    "rest",
    [finalNorm.weight, finalNorm.bias].filter((name) => name !== undefined),
  );
  put("embeddings", [model.embedding, weight, ...(bias === undefined ? [] : [bias])]);
  return parts;
}

/** The components of a name up to the first in which it differs from the embedding's: `model.visual`, `talker`. */
function beginning(name: string, embedding: string): string {
  const [own, other] = [name.split("."), embedding.split(".")];
  const differs = own.findIndex((component, i) => component !== other[i]);
  return own.slice(0, differs + 1).join(".");
}
