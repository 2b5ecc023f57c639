import type { WeightFormatName } from "../checkpoint/quantised/weight-format.js";
import type { Method } from "../compress/settings.js";
import type { Backend } from "../engine/backend.js";
import { Observation } from "../observe/observation.js";
import type { OpenedModel } from "../pipeline/open-model.js";
import type { Candidate } from "./candidates.js";
import { alike, type DroppedShares, observedShares } from "./dropped-share.js";
import type { ModelFormats } from "./formats.js";
import type { ResolvedAdviseOptions } from "./options.js";
import { type RoundingError, roundingErrors } from "./rounding-error.js";

/** A predicted error of a candidate, its parts, and what they are known from. */
export interface PredictedError {
  readonly error: number;
  readonly dropped: number;
  readonly rounded: number;
  readonly basis: string;
}

/**
 * Predicts errors from what is known without running a candidate. The error is the squared error of the routed experts'
 * output relative to its size: d + (1 - d) r, where d is the share of what the experts make that are not kept
 * (dropped-share.ts), and r the error of rounding the weights of the others (rounding-error.ts). It knows nothing of what
 * merging saves, of how a layer's error changes the next ones, and of GPTQ: it ranks, and no more.
 */
export class Predictor {
  private constructor(
    private readonly shares: ReadonlyMap<Method, DroppedShares>,
    private readonly unobserved: DroppedShares,
    readonly rounding: ReadonlyMap<WeightFormatName, RoundingError>,
  ) {}

  /** Errors: those of observations and of reading experts. */
  static async create(
    opened: OpenedModel,
    candidates: readonly Candidate[],
    formats: ModelFormats["usable"],
    backend: Backend,
    options: Pick<ResolvedAdviseOptions, "observed" | "mix" | "sampledExperts" | "seed">,
    signal?: AbortSignal,
  ): Promise<Predictor> {
    const { observed, mix, sampledExperts: count, seed } = options;
    const shares = new Map<Method, DroppedShares>();
    if (observed !== undefined) {
      const observation = await Observation.open(observed);
      await observation.checkModel(opened);
      for (const method of new Set(candidates.flatMap(({ method }) => method ?? [])))
        shares.set(method, await observedShares(observation, opened.model, method, mix));
    }
    const used = new Set(candidates.map(({ format }) => format));
    const measured = new Map([...formats].filter(([name]) => used.has(name)));
    const rounding = await roundingErrors(opened, backend, measured, { count, seed, signal });
    return new Predictor(shares, alike(opened.model), rounding);
  }

  async of({ experts, method, format }: Candidate): Promise<PredictedError> {
    const shares = (method && this.shares.get(method)) ?? this.unobserved;
    const dropped = method === undefined ? 0 : await shares.of(experts);
    const rounded = format === undefined ? 0 : this.rounding.get(format)!.error;
    const basis = [
      ...(method === undefined ? [] : [shares.basis === "observed" ? "observed experts" : shares.basis]),
      ...(format === undefined ? [] : ["rounded weights"]),
    ];
    return { error: dropped + (1 - dropped) * rounded, dropped, rounded, basis: basis.join(", ") };
  }
}
