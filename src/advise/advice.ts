import type { CacheSize } from "./cache.js";
import type { Candidate } from "./candidates.js";
import type { PredictedDivergence } from "./divergence.js";
import type { ModelFormats } from "./formats.js";
import type { Scores } from "./measurement.js";
import type { PredictedLoss } from "./predict.js";
import type { CheckpointSize } from "./sizes.js";

/** What is known of a candidate's quality, and how. A prediction is never a measurement. */
export type Quality =
  /** The model itself; what it scored where that was measured. */
  | { readonly kind: "original"; readonly scores: Scores | undefined; readonly from: string | undefined }
  | {
      readonly kind: "measured";
      readonly scores: Scores;
      readonly from: string;
      /** What would be predicted for it, to compare what was measured with what was not. */
      readonly loss: PredictedLoss;
    }
  | {
      readonly kind: "predicted";
      readonly loss: PredictedLoss;
      /** Only from a relation that measured divergences of the same model show. */
      readonly divergence: PredictedDivergence | undefined;
    };

/** A candidate with its size and quality. */
export interface Option {
  readonly candidate: Candidate;
  /** Of one that was made already: how. */
  readonly variant: string;
  /** The options of `ream compress`, and the whole command; undefined for the model as it is. */
  readonly options: string | undefined;
  readonly command: string | undefined;
  /** Bytes of its tensors. */
  readonly bytes: number;
  /** Bytes with caches and allowance. */
  readonly memory: number;
  /** 8 x bytes / parameters of the original. */
  readonly bitsPerWeight: number;
  readonly fits: boolean;
  /** What is left of the memory to fit; below 0: what is missing. */
  readonly left: number;
  /** Matrices that the format cannot store. */
  readonly plain: CheckpointSize["plain"];
  readonly quality: Quality;
}

/** An option with its place; those that nothing tells apart share one. */
export type RankedOption = Option & { readonly rank: number };

/** The answer of `ream advise`. */
export interface Advice {
  readonly model: string;
  readonly family: string;
  /** Of the original. */
  readonly parameters: number;
  readonly bytes: number;
  readonly experts: number;
  readonly fit: number;
  readonly context: number;
  readonly sequences: number;
  readonly cache: CacheSize;
  readonly allowance: number;
  readonly options: readonly RankedOption[];
  /** Formats that cannot store the routed experts of this model, and why. */
  readonly refused: ModelFormats["refused"];
  /** What a reader has to know of the predictions and of results that were not used. */
  readonly notes: readonly string[];
}
