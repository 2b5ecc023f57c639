import type { Activation, ExpertChoice } from "../engine/backend.js";
import type { ExpertStorage } from "./expert-storage.js";
import type { MixerDescription } from "./mixers/descriptions.js";
import type { QuantisationMethod } from "./quantisation.js";

/** Names of a projection's tensors. weight `[out, in]`, bias `[out]`. */
export interface Projection {
  readonly weight: string;
  readonly bias?: string;
  /** `[out, in]` that the stored weight must have. */
  readonly shape: readonly [number, number];
  /** The rows `[begin, end)` of the stored weight and bias that make up the projection, in order; undefined: all. */
  readonly rows?: readonly (readonly [begin: number, end: number])[];
}

/** A norm over rows of `size` values. */
export interface Norm {
  /** x / rms(x) (Zhang & Sennrich 2019), or (x - mean) / deviation (Ba et al. 2016). */
  readonly kind: "rms" | "layer";
  readonly size: number;
  readonly epsilon: number;
  /** Name of the factors `[size]`; undefined: 1. */
  readonly weight?: string;
  /** Name of what is added `[size]`, by layer norm. */
  readonly bias?: string;
  /** The stored factors are one less than those that are meant (Qwen3-Next). */
  readonly plusOne?: boolean;
  /** One more factor of all values; undefined: 1. */
  readonly factor?: number;
}

/** An ordinary feed-forward block: `down(activation(gate x, up x))`, up in place of a gate that is not there. */
export interface DenseDescription {
  readonly kind: "dense";
  readonly gate?: Projection;
  readonly up: Projection;
  readonly down: Projection;
  readonly activation: Activation;
}

/** No feed-forward block: the layer ends with its mixer (Nemotron-H). */
export interface NoBlockDescription {
  readonly kind: "none";
}

/** How a router turns logits into experts and weights. */
export interface RouterDescription extends ExpertChoice {
  /** What comes before the weight; undefined: the block's input itself. */
  readonly inputNorm?: Norm;
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
  /** Name of a factor of each expert `[experts]` on its weights, after all others (Gemma 4). */
  readonly expertScale?: string;
  /** Experts and weights by SparseMixer instead of the top k of the scores, with router_jitter_noise (Phi-3.5-MoE). */
  readonly sparseMixer?: { readonly jitter: number };
  /** The weights multiply the experts' inputs (Llama 4). */
  readonly scalesInputs?: boolean;
}

/** An expert that every token uses, beside the routed ones. */
export interface SharedExpert extends Omit<DenseDescription, "kind"> {
  /** Around this expert alone. */
  readonly inputNorm?: Norm;
  readonly outputNorm?: Norm;
  /** Its output is multiplied by the sigmoid of this projection `[1, hidden]`. */
  readonly weighting?: Projection;
}

/** Experts and what chooses among them. */
export interface RoutedExperts {
  readonly experts: ExpertStorage;
  readonly router: RouterDescription;
}

/** A Mixture-of-Experts block. */
export interface MoeDescription extends RoutedExperts {
  readonly kind: "moe";
  readonly activation: Activation;
  /** What the block's input passes on its way to the routed experts; undefined: nothing. */
  readonly expertInput?: Norm | Projection;
  /** What the sum of the routed experts passes; undefined: nothing. */
  readonly expertOutput?: Norm | Projection;
  readonly shared?: SharedExpert;
  /** Name of what is added to the sum of the experts `[hidden]`. */
  readonly bias?: string;
}

/** What surrounds a mixer or feed-forward block f: y = residual x + output(f(input(x))), each part where it is there. */
export interface Sublayer {
  /** x -> the block's input; undefined: x itself. */
  readonly inputNorm?: Norm;
  /** Applied to the block's output, before it is added. */
  readonly outputNorm?: Norm;
  /** y = residual * r + output * f, where r is x or the normed x. Undefined: x and factors of 1. */
  readonly factors?: { readonly of: "input" | "normed"; readonly residual: number; readonly output: number };
}

/** One decoder layer: a mixer of tokens (attention or another), then a feed-forward block. */
export interface LayerDescription {
  readonly index: number;
  /** Every tensor of the layer has a name that starts with this. */
  readonly prefix: string;
  readonly mixer: MixerDescription;
  readonly aroundMixer: Sublayer;
  readonly feedForward: DenseDescription | MoeDescription | NoBlockDescription;
  readonly aroundFeedForward: Sublayer;
  /** The feed-forward block sees the layer's input, as the mixer does; both outputs are added to it (Cohere 2). */
  readonly parallel?: boolean;
  /** Name of a factor `[1]` on the layer's output (Gemma 4). */
  readonly outputScale?: string;
}

/** A layer for multi-token prediction: a decoder layer on the projection of [next token's embedding, hidden state]. */
export interface PredictionDescription {
  /** Its index is counted on from the decoder's layers. */
  readonly layer: LayerDescription;
  readonly embeddingNorm: Norm;
  readonly hiddenNorm: Norm;
  /** `[hidden, 2 hidden]` */
  readonly projection: Projection;
  readonly outputNorm: Norm;
}

/** What the engine has to know about a checkpoint: a plain value that an architecture makes from config.json. */
export interface ModelDescription {
  /** `model_type` of config.json. */
  readonly family: string;
  readonly hiddenSize: number;
  readonly vocabularySize: number;
  /** Longest sequence the model was made for. */
  readonly maxPositions: number;
  readonly layers: readonly LayerDescription[];
  /** Name of the embedding `[vocabulary, hidden]`. */
  readonly embedding: string;
  /** Factor on embeddings; undefined: 1. */
  readonly embeddingScale?: number;
  readonly finalNorm: Norm;
  /** The output matrix `[vocabulary, hidden]`; the embedding itself where they are tied. */
  readonly outputHead: Projection;
  /** Factor on logits; undefined: 1. */
  readonly logitScale?: number;
  /** Logits become cap tanh(logit / cap). */
  readonly logitCap?: number;
  /** Experts of each MoE layer, and how many of them a token uses. */
  readonly experts: number;
  readonly topK: number;
  /** Keys that lead to the object of config.json with the number of experts, where other objects have such numbers too. */
  readonly configPart?: readonly string[];
  /** Sequences that are longer cannot be computed as the model does it; undefined: all can. */
  readonly exactPositions?: number;
  /** Layers for multi-token prediction whose layout is known. They are no part of the model's own pass. */
  readonly predictions?: readonly PredictionDescription[];
  /** How the checkpoint's weights are quantised; undefined: they are not. */
  readonly quantisation?: QuantisationMethod;
}

/** A MoE layer of a model. */
export type MoeLayer = LayerDescription & { readonly feedForward: MoeDescription };

export function isMoe(layer: LayerDescription): layer is MoeLayer {
  return layer.feedForward.kind === "moe";
}

/** The experts of a layer's attention, where that is a mixture; they are as many as those of its feed-forward block. */
export function attentionExperts({ mixer }: LayerDescription): RoutedExperts | undefined {
  return mixer.kind === "mixture-of-attention" ? mixer : undefined;
}
