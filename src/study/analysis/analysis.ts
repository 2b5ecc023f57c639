import type { Mix } from "../mix.js";
import type { Average, StudyResults } from "../results.js";
import type { MixCorrelations } from "./correlation.js";
import type { Estimate } from "./estimate.js";
import type { Optimal } from "./optimal.js";
import type { Measure, Place, Point } from "./points.js";
import type { RankQuality } from "./rank-quality.js";

/** MC, GEN and AVG in per cent, or their differences in points. */
export type Estimates = Readonly<Record<Average, Estimate>>;

/** What a study says: all that tables, JSON and the report show. Points are named by their index in `points` of their ratio. */
export interface Analysis {
  readonly title: string;
  readonly model: StudyResults["model"];
  readonly source: string | undefined;
  readonly note: string | undefined;
  readonly original: (Place & { readonly avg: number }) | undefined;
  /** Of the resamples. */
  readonly seed: number;
  readonly resamples: number;
  /** By number of experts, most first. */
  readonly ratios: readonly RatioAnalysis[];
}

/** All compressions to one number of experts. */
export interface RatioAnalysis {
  readonly experts: number;
  /** Of the original's experts. */
  readonly share: number;
  /** In the order of the results. */
  readonly points: readonly PointAnalysis[];
  /** The mixes that all methods were tried with. Methods are compared over these alone: more attempts make a larger hypervolume. */
  readonly mixes: readonly Mix[];
  /** Where intervals come from; undefined where there are none. */
  readonly uncertainty: "items" | "standard errors" | undefined;
  /** Of the hypervolumes. It stays where it is in all resamples. Undefined where no mix is compared. */
  readonly reference: Place | undefined;
  /** Pareto-optimal among the compared points of all methods, in ascending MC. */
  readonly frontier: readonly number[];
  /** In the order of the results; those with at least one mix. */
  readonly methods: readonly MethodAnalysis[];
  /** Every two methods. */
  readonly pairs: readonly MethodPair[];
  /** Highest AVG of all points, compared or not; of equal ones the first. */
  readonly best: number;
  /** How measures on held-out text foretell AVG, over all compared points. */
  readonly predictors: readonly Predictor[];
}

export interface PointAnalysis {
  readonly method: string;
  readonly mix: Mix;
  /** Its rows in the results: more than one where several seeds were tried. */
  readonly rows: readonly number[];
  /** Whether its mix is one of the compared ones. */
  readonly compared: boolean;
  readonly scores: Estimates;
  /** Less the original's scores; undefined without an original. */
  readonly change: Estimates | undefined;
  readonly tasks: Point["tasks"];
  readonly heldOut: Point["heldOut"];
}

/** A method over the compared mixes. Without any, `of` of `optimal` is 0 and what has no meaning is undefined. */
export interface MethodAnalysis {
  readonly method: string;
  readonly points: readonly number[];
  /** Pareto-optimal among its own points, in ascending MC. */
  readonly frontier: readonly number[];
  readonly optimal: Optimal;
  readonly hypervolume: Estimate | undefined;
  /** Over its mixes. */
  readonly mean: Estimates | undefined;
  /** Highest AVG; of equal ones the first. */
  readonly best: number | undefined;
  readonly correlations: MixCorrelations;
  /** As of the ratio, over its own points. */
  readonly predictors: readonly Predictor[];
}

/** The first method less the second. */
export interface MethodPair {
  readonly first: string;
  readonly second: string;
  readonly hypervolume: Estimate;
  /** Of the means over the mixes. */
  readonly mean: Estimates;
  /**
   * Which share of what the first method loses against the original, in its means, the second one does not lose: 1 is the
   * original, below 0 the second is worse. Only where the first loses something.
   */
  readonly closed: Readonly<Partial<Record<Average, Estimate>>>;
}

export interface Predictor {
  /** `rank`: the numerical rank of the last hidden states (the paper's Fig. 5). */
  readonly measure: Measure | "rank";
  /** Undefined: the mean over all domains. */
  readonly domain: string | undefined;
  /** Of AVG; better is lower for `kl` and `perplexity`, whose signs are turned. `chosen` is an index into the points that are ranked. */
  readonly quality: RankQuality;
}
