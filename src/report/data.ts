import type { ExpertChoice } from "../compress/choose/choice.js";

/**
 * What the report pages show, as plain values. Scores, averages and differences are in per cent and points (0 to 100);
 * shares are from 0 to 1. What is absent is left out of the page.
 */

/** A line of the provenance: a version, a seed, a date, a hash, the command. */
export interface Fact {
  readonly name: string;
  readonly value: string;
}

export interface ReportTask {
  readonly name: string;
  readonly suite: "mc" | "gen";
  /** How many items were asked. */
  readonly items?: number;
}

/** Compressed minus original on the same items, in points. */
export interface PairedDifference {
  readonly value: number;
  /** Of 95 %. */
  readonly interval?: readonly [low: number, high: number];
  readonly p?: number;
}

/** Against held-out text of a domain; the same fields as `HeldOutMeasure`. */
export interface HeldOutScores {
  readonly perplexity: number;
  /** Share of tokens for which both models find the same next token most likely. */
  readonly agreement: number;
  /** Kullback-Leibler divergence from the original, in nats. */
  readonly divergence: number;
}

export interface Scores {
  readonly mc?: number;
  readonly gen?: number;
  readonly avg?: number;
  /** By name of the task. */
  readonly tasks: Readonly<Record<string, number>>;
  /** By domain. */
  readonly heldOut?: Readonly<Record<string, HeldOutScores>>;
}

/** How far a layer's output is from the original's, relative to its size. */
export interface LayerError {
  readonly layer: number;
  readonly error: number;
}

export interface CompressedScores extends Scores {
  /** By name of the task. */
  readonly differences?: Readonly<Record<string, PairedDifference>>;
}

/** One compressed model of a study. */
export interface StudyRow extends CompressedScores {
  readonly method: string;
  /** Experts of each layer that are left. */
  readonly experts: number;
  /** Share of each domain in the calibration text. */
  readonly mix: Readonly<Record<string, number>>;
  readonly layerErrors?: readonly LayerError[];
  readonly seconds?: number;
  /** The most memory that was in use at a time. */
  readonly memoryBytes?: number;
}

/** Pearson's r over the mixes of a method at a ratio. */
export interface Correlations {
  /** By domain: its share against the mean scores. */
  readonly shares: Readonly<Record<string, { readonly mc: number; readonly gen: number }>>;
  readonly mcGen: number;
}

/** What a method reached at a ratio over all its mixes. */
export interface Front {
  readonly method: string;
  readonly experts: number;
  /** Indices in `rows` of the method's models that none of its others beats in both MC and GEN. */
  readonly frontier: readonly number[];
  readonly hypervolume?: number;
  /** Of 95 %, for the hypervolume. */
  readonly interval?: readonly [low: number, high: number];
  /** How many of its mixes are on the frontier. */
  readonly optimal?: readonly [number: number, of: number];
  readonly correlations?: Correlations;
}

/** A value and its interval of 95 %. */
export interface Known {
  readonly value: number;
  readonly interval?: readonly [low: number, high: number];
}

/** A method less another, over the mixes that both were tried with and on the same items. */
export interface MethodDifference {
  readonly experts: number;
  readonly first: string;
  readonly second: string;
  readonly hypervolume: Known;
  /** Of the means over the mixes, in points. */
  readonly mc: Known;
  readonly gen: Known;
  readonly avg: Known;
  /** Share of the AVG that the first loses against the original, which the second does not lose. */
  readonly closed?: Known;
}

/** How a measure on held-out text foretells the average, over all models of a ratio. */
export interface Foretelling {
  readonly experts: number;
  readonly measure: "kl" | "agreement" | "perplexity" | "rank";
  /** Absent: the mean over all domains. */
  readonly domain?: string;
  /** Models. */
  readonly n: number;
  readonly pearson?: number;
  readonly spearman?: number;
  /** By how many points what the measure puts first scores below the best. */
  readonly regret: number;
}

/** What a layer of the original model did with the calibration text. */
export interface LayerObservation {
  readonly layer: number;
  /** Of every expert, in the model's order. */
  readonly saliency?: readonly number[];
  /** By domain: the share of the domain's routing weight that went to each expert; adds up to 1. */
  readonly usage?: Readonly<Record<string, readonly number[]>>;
}

/** How the experts of a layer were grouped; a plan's layer fits. */
export interface LayerGroups {
  readonly layer: number;
  /** Original indices, the centroid first, with averaging weights in the same order. */
  readonly groups: readonly { readonly members: readonly number[]; readonly weights: readonly number[] }[];
  /** Experts that were protected, and how the others were chosen, where more than saliency was looked at. */
  readonly superExperts?: readonly number[] | undefined;
  readonly choice?: ExpertChoice | undefined;
}

/** What fitting a layer's router changed. */
export interface FittedRouter {
  readonly layer: number;
  readonly kept: boolean;
  readonly before?: { readonly heldOut: number } | undefined;
  readonly after?: { readonly heldOut: number } | undefined;
}

/** The groups of one compressed model. */
export interface Grouping {
  readonly title: string;
  /** Experts of each layer before. */
  readonly experts: number;
  readonly layers: readonly LayerGroups[];
}

/** Mixes x methods x ratios, evaluated against one original. */
export interface StudyReport {
  readonly title?: string;
  readonly model: { readonly name: string; readonly experts?: number };
  /** In the order in which they are shown: it decides their colours and symbols. */
  readonly methods: readonly string[];
  /** Of the calibration text, in the order in which mixes are written. */
  readonly domains: readonly string[];
  readonly tasks: readonly ReportTask[];
  readonly original?: Scores;
  readonly rows: readonly StudyRow[];
  readonly fronts: readonly Front[];
  readonly differences?: readonly MethodDifference[];
  readonly foretellings?: readonly Foretelling[];
  readonly observation?: readonly LayerObservation[];
  readonly groupings?: readonly Grouping[];
  readonly provenance: readonly Fact[];
}

/** Sizes before and after, in bytes or as counts. */
export interface SizeChange {
  readonly name: string;
  readonly before: number;
  readonly after: number;
  readonly unit: "bytes" | "count";
}

/** What layers lose of their squared outputs on held-out calibration text, as shares, at one stage of the work. */
export interface LossLine {
  readonly name: string;
  readonly errors: readonly LayerError[];
  /** Means over the layers. */
  readonly domains: Readonly<Record<string, number>>;
}

/** A single compressed model. */
export interface CompressionReport {
  readonly model: string;
  readonly method: string;
  readonly experts: { readonly before: number; readonly after: number };
  /** Experts that each token uses. */
  readonly topK?: number;
  readonly sizes: readonly SizeChange[];
  readonly layers: readonly LayerGroups[];
  readonly routers?: readonly FittedRouter[] | undefined;
  /** The experts of the attention, where that is a mixture of them. */
  readonly attentionLayers?: readonly LayerGroups[];
  readonly layerErrors?: readonly LayerError[];
  /** In the order of the work. */
  readonly losses?: readonly LossLine[];
  readonly observation?: readonly LayerObservation[];
  readonly evaluation?: {
    readonly tasks: readonly ReportTask[];
    readonly original: Scores;
    readonly compressed: CompressedScores;
  };
  readonly seconds?: number;
  readonly memoryBytes?: number;
  readonly provenance: readonly Fact[];
}
