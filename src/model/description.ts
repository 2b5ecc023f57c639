import type { Activation } from "../engine/backend.js";
import type { ExpertStorage } from "./expert-storage.js";
import type { RopeDescription } from "./rope.js";

/** Names of a projection's tensors. weight `[out, in]`, bias `[out]`. */
export interface Projection {
  readonly weight: string;
  readonly bias?: string;
  /** `[out, in]` that the weight must have. */
  readonly shape: readonly [number, number];
}

/** Softmax attention in which groups of query heads share a key and value head. */
export interface AttentionDescription {
  readonly kind: "grouped-query";
  readonly heads: number;
  readonly keyValueHeads: number;
  readonly headSize: number;
  readonly scale: number;
  readonly window: number | undefined;
  readonly rope: RopeDescription;
  readonly query: Projection;
  readonly key: Projection;
  readonly value: Projection;
  readonly output: Projection;
  /** Names of RMS norm weights `[headSize]` of each query and key head, before the rotation. */
  readonly queryNorm?: string;
  readonly keyNorm?: string;
}

/** An ordinary gated feed-forward block: `down(activation(gate x) * (up x))`. */
export interface DenseDescription {
  readonly kind: "dense";
  readonly gate: Projection;
  readonly up: Projection;
  readonly down: Projection;
  readonly activation: Activation;
}

/** How a router turns logits into experts and weights. */
export interface RouterDescription {
  /** Name of the router's weight `[experts, hidden]`. */
  readonly weight: string;
  /** Name of a bias `[experts]` that is added to the logits. */
  readonly bias?: string;
  /** Name of a bias `[experts]` or `[1, experts]` that is added to the scores for the choice alone. */
  readonly selectionBias?: string;
  /** What the scores are, before a choice is made. */
  readonly scores: "softmax" | "sigmoid";
  /** Choose by the logits: scores far from the others may round to the same number (Llama 4). */
  readonly chooseBy?: "logits";
  readonly topK: number;
  /** Experts are chosen from some groups only. `count` = 1: from all experts. */
  readonly groups?: ExpertGroups;
  /** Divide the chosen scores by their sum (norm_topk_prob). */
  readonly normalise: boolean;
  /** Added to that sum. */
  readonly epsilon?: number;
  /** The sum is taken to be at least this (ERNIE). */
  readonly floor?: number;
  /** Factor on the weights (routed_scaling_factor). */
  readonly scale?: number;
  /** Experts and weights by SparseMixer instead of the top k of the scores, with router_jitter_noise (Phi-3.5-MoE). */
  readonly sparseMixer?: { readonly jitter: number };
  /** The weights multiply the experts' inputs (Llama 4). */
  readonly scalesInputs?: boolean;
}

/** Consecutive groups of equally many experts, of which each token uses the best. */
export interface ExpertGroups {
  readonly count: number;
  /** Groups that a token chooses its experts from. */
  readonly kept: number;
  /** What groups are ranked by: their best expert (DeepSeek-V2), or the sum of their best two (DeepSeek-V3). */
  readonly score: "max" | "sum-of-two";
}

/** A Mixture-of-Experts block. */
export interface MoeDescription {
  readonly kind: "moe";
  readonly experts: ExpertStorage;
  readonly router: RouterDescription;
  readonly activation: Activation;
}

/** One decoder layer: x + attention(norm x), then x + feedForward(norm x). */
export interface LayerDescription {
  readonly index: number;
  /** Every tensor of the layer has a name that starts with this. */
  readonly prefix: string;
  readonly attentionNorm: string;
  readonly attention: AttentionDescription;
  readonly feedForwardNorm: string;
  readonly feedForward: DenseDescription | MoeDescription;
}

/** What the engine has to know about a checkpoint: a plain value that an architecture makes from config.json. */
export interface ModelDescription {
  /** `model_type` of config.json. */
  readonly family: string;
  readonly hiddenSize: number;
  readonly vocabularySize: number;
  /** Longest sequence the model was made for. */
  readonly maxPositions: number;
  readonly normEpsilon: number;
  readonly layers: readonly LayerDescription[];
  /** Name of the embedding `[vocabulary, hidden]`. */
  readonly embedding: string;
  readonly finalNorm: string;
  /** Name of the output matrix `[vocabulary, hidden]`; the embedding itself where they are tied. */
  readonly outputHead: string;
  /** Experts of each MoE layer, and how many of them a token uses. */
  readonly experts: number;
  readonly topK: number;
}

/** A MoE layer of a model. */
export type MoeLayer = LayerDescription & { readonly feedForward: MoeDescription };

export function isMoe(layer: LayerDescription): layer is MoeLayer {
  return layer.feedForward.kind === "moe";
}
