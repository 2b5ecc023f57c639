import type { Activation } from "../../engine/backend.js";
import type { Norm, Projection, RouterDescription } from "../description.js";
import type { ExpertStorage } from "../expert-storage.js";
import type { RopeDescription } from "../rope.js";

/** How a layer lets tokens see earlier ones. A new kind is one file here, one line in kinds.ts, and one in this union. */
export type MixerDescription =
  | AttentionDescription
  | LatentAttentionDescription
  | MixtureOfAttentionDescription
  | DeltaRuleDescription
  | ChannelDeltaRuleDescription
  | MambaDescription
  | SelectiveScanDescription
  | NoMixerDescription
  | LinearAttentionDescription
  | ShortConvolutionDescription;

/** Softmax attention in which groups of query heads share a key and value head (Ainslie et al. 2023). */
export interface AttentionDescription {
  readonly kind: "attention";
  readonly heads: number;
  readonly keyValueHeads: number;
  readonly headSize: number;
  /** Size of a head of values; undefined: headSize. */
  readonly valueSize?: number;
  readonly scale: number;
  /** Factor on values; undefined: 1. */
  readonly valueScale?: number;
  /** Position i sees j only if i - j < window. */
  readonly window?: number | undefined;
  /** Position i sees j only in its own chunk of so many positions. */
  readonly chunk?: number | undefined;
  /** Undefined: positions are not told. */
  readonly rope?: RopeDescription | undefined;
  readonly query: Projection;
  readonly key: Projection;
  readonly value: Projection;
  readonly output: Projection;
  /** The output is multiplied by its activation before the output projection: of each number, or of each head. */
  readonly gate?: Projection;
  /** Undefined: sigmoid. */
  readonly gateActivation?: "softplus";
  /** Of each head, or of all heads together, by their size. */
  readonly queryNorm?: Norm;
  readonly keyNorm?: Norm;
  readonly valueNorm?: Norm;
  /** The norms come after the rotation. */
  readonly normsRotated?: boolean;
  /** Queries, keys and values are cut to -clip..clip, after their norms. */
  readonly clip?: number | undefined;
  /** Name of an additional logit of each head `[heads]` in the softmax. */
  readonly sinks?: string;
  readonly temperature?: QueryTemperature | undefined;
}

/** Queries times ln(1 + floor((position + first) / floorScale)) * scale + 1 (Llama 4; positions count from 0). */
export interface QueryTemperature {
  readonly floorScale: number;
  readonly scale: number;
  readonly first: number;
}

/** Multi-head latent attention (DeepSeek-V2): keys and values are projections of one small vector for each token. */
export interface LatentAttentionDescription {
  readonly kind: "latent-attention";
  readonly heads: number;
  /** Dimensions of a query and key head without and with rotation. */
  readonly plainSize: number;
  readonly rotarySize: number;
  readonly valueSize: number;
  /** Size of the latent vector. */
  readonly rank: number;
  readonly scale: number;
  /** Undefined: positions are not told, and the rotary part stays as it is (Kimi Linear). */
  readonly rope: RopeDescription | undefined;
  /** Hidden states to queries, directly or through a small normed vector. */
  readonly query: Projection | { readonly down: Projection; readonly norm: Norm; readonly up: Projection };
  /** Hidden states to [latent, rotary key that all heads share]. */
  readonly latent: Projection;
  readonly latentNorm: Norm;
  /** Latent to [plain key, value] of each head. */
  readonly keyValue: Projection;
  readonly output: Projection;
  /** Hidden states to a gate of each head, whose sigmoid multiplies the head's output. */
  readonly gate?: Projection;
  readonly temperature?: QueryTemperature | undefined;
}

/** Attention whose query heads are chosen by a router (JetMoE); keys and values are shared. */
export interface MixtureOfAttentionDescription {
  readonly kind: "mixture-of-attention";
  /** Up makes an expert's queries of a hidden state, down its output of what they found; there is no gate. */
  readonly experts: ExpertStorage;
  readonly router: RouterDescription;
  /** Heads of one expert's queries, each with its own keys and values. */
  readonly keyValueHeads: number;
  readonly headSize: number;
  readonly rope: RopeDescription;
  readonly key: Projection;
  readonly value: Projection;
  /** Name of what is added to the output `[hidden]`. */
  readonly bias: string;
}

/** Gated delta rule (Yang et al. 2024) with a short convolution before and a gated norm after it. */
export interface DeltaRuleDescription {
  readonly kind: "delta-rule";
  readonly keyHeads: number;
  readonly valueHeads: number;
  readonly keySize: number;
  readonly valueSize: number;
  readonly kernel: number;
  /** Hidden states to [query heads, key heads, value heads]. */
  readonly queryKeyValue: Projection;
  readonly gate: Projection;
  readonly beta: Projection;
  readonly decay: Projection;
  /** Name of the convolution's weight `[channels, 1, kernel]`. */
  readonly convolution: string;
  /** Names of A_log and dt_bias `[valueHeads]`. */
  readonly logRate: string;
  readonly decayBias: string;
  readonly norm: Norm;
  readonly output: Projection;
}

/** Kimi Delta Attention: the gated delta rule with a gate of each channel of the key, short convolutions and a gated norm. */
export interface ChannelDeltaRuleDescription {
  readonly kind: "channel-delta-rule";
  readonly heads: number;
  /** Of queries, keys and values. */
  readonly headSize: number;
  readonly kernel: number;
  readonly query: Projection;
  readonly key: Projection;
  readonly value: Projection;
  /** Names of the convolutions' weights `[heads * headSize, 1, kernel]` of queries, keys and values. */
  readonly convolutions: readonly [string, string, string];
  /** Hidden states to gates of the state, and to gates of the output: projections one after the other. */
  readonly decay: readonly Projection[];
  readonly gate: readonly Projection[];
  readonly beta: Projection;
  /** Names of A_log, in its shape, and dt_bias `[heads * headSize]`. */
  readonly logRate: string;
  readonly logRateShape: readonly number[];
  readonly decayBias: string;
  /** Logarithms of decays are this times the sigmoid of exp(A_log) (x + dt_bias); undefined: -exp(A_log) softplus(x + dt_bias). */
  readonly lowestLogDecay?: number;
  readonly norm: Norm;
  readonly output: Projection;
}

/** Mamba-2 (Dao & Gu 2024). */
export interface MambaDescription {
  readonly kind: "mamba";
  readonly heads: number;
  readonly headSize: number;
  /** Groups of heads that share B and C. */
  readonly groups: number;
  readonly stateSize: number;
  readonly kernel: number;
  /** Hidden states to [gate, x, B, C, time step of each head]. */
  readonly input: Projection;
  /** Names of the convolution's weight `[channels, 1, kernel]` and bias `[channels]`, channels those of [x, B, C]. */
  readonly convolution: string;
  readonly convolutionBias?: string;
  /** Names of A_log, dt_bias and D `[heads]`. */
  readonly logRate: string;
  readonly timeBias: string;
  readonly skip: string;
  /** Shortest and longest time step. */
  readonly timeLimit: readonly [number, number];
  /** Name of the factors `[heads * headSize]` of the RMS norm of each group, after the gate, and its epsilon. */
  readonly norm: string;
  readonly epsilon: number;
  readonly output: Projection;
}

/** Mamba (Gu & Dao 2023) with norms on time steps, B and C (Jamba). */
export interface SelectiveScanDescription {
  readonly kind: "selective-scan";
  readonly channels: number;
  /** Numbers of a channel's state. */
  readonly stateSize: number;
  /** Size of the small vector that the time steps are made of. */
  readonly rank: number;
  readonly kernel: number;
  /** Hidden states to [x, gate]. */
  readonly input: Projection;
  /** Names of the convolution's weight `[channels, 1, kernel]` and bias `[channels]`. */
  readonly convolution: string;
  readonly convolutionBias?: string;
  /** x after the convolution to [small vector of time steps, B, C], whose norms follow. */
  readonly selection: Projection;
  readonly timeNorm: Norm;
  readonly inputNorm: Norm;
  readonly outputNorm: Norm;
  /** To the time step of each channel. */
  readonly time: Projection;
  /** Names of A_log `[channels, stateSize]` and D `[channels]`. */
  readonly logRate: string;
  readonly skip: string;
  readonly output: Projection;
}

/** No mixer: the layer is its feed-forward block alone (Nemotron-H). */
export interface NoMixerDescription {
  readonly kind: "none";
}

/** Linear attention with a fixed decay of each head and an output gate (lightning attention, MiniMax). */
export interface LinearAttentionDescription {
  readonly kind: "linear-attention";
  readonly heads: number;
  readonly headSize: number;
  /** Logarithm of what a head's memory is multiplied with at each token. */
  readonly logDecay: readonly number[];
  /** Of queries, keys and values. */
  readonly activation: Activation;
  /** Hidden states to [query heads, key heads, value heads], before the activation. */
  readonly queryKeyValue: Projection;
  readonly gate: Projection;
  readonly norm: Norm;
  readonly output: Projection;
}

/** Gated short convolution (LFM2): output(C * convolution(B * v)), [B, C, v] = input(x). */
export interface ShortConvolutionDescription {
  readonly kind: "short-convolution";
  readonly kernel: number;
  readonly input: Projection;
  /** Name of the convolution's weight `[hidden, 1, kernel]`, and of its bias `[hidden]`. */
  readonly convolution: string;
  readonly bias?: string;
  readonly output: Projection;
}
