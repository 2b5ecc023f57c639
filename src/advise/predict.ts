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

/** What is known of a candidate without running it. */
export interface PredictedLoss {
  /** Share of what the routed experts make that the candidate does not keep, 0 to 1 (dropped-share.ts). */
  readonly dropped: number;
  /** Error of rounding the weights (rounding-error.ts). */
  readonly rounded: number;
  /** What they are known from. */
  readonly basis: string;
}

/**
 * Predicts from what is known without running a candidate. It knows nothing of what merging saves, of how a layer's error
 * changes the next ones, and of GPTQ: it ranks, and no more. Both numbers are squared errors of the experts' output relative
 * to its size, and still they do not add up: experts that are missing are missed by few tokens, and wholly, while the errors
 * of rounding are small everywhere and cancel (docs/advise.md has measured numbers).
 */
export class Predictor {
  private constructor(
    private readonly shares: ReadonlyMap<Method, DroppedShares>,
    private readonly unobserved: DroppedShares,
    readonly rounding: ReadonlyMap<WeightFormatName, RoundingError>,
    /** What a person should know of the observation. */
    readonly notes: readonly string[],
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
    const notes: string[] = [];
    if (observed !== undefined) {
      const observation = await Observation.open(observed);
      await observation.checkModel(opened);
      notes.push(...observation.mix(mix).notes);
      for (const method of new Set(candidates.flatMap(({ method }) => method ?? [])))
        shares.set(method, await observedShares(observation, opened.model, method, mix));
    }
    const used = new Set(candidates.map(({ format }) => format));
    const measured = new Map([...formats].filter(([name]) => used.has(name)));
    const rounding = await roundingErrors(opened, backend, measured, { count, seed, signal });
    return new Predictor(shares, alike(opened.model), rounding, notes);
  }

  async of({ experts, method, format }: Candidate): Promise<PredictedLoss> {
    const shares = (method && this.shares.get(method)) ?? this.unobserved;
    const dropped = method === undefined ? 0 : await shares.of(experts);
    const rounded = format === undefined ? 0 : this.rounding.get(format)!.error;
    const basis = [
      ...(method === undefined ? [] : [shares.basis === "observed" ? "observed experts" : shares.basis]),
      ...(format === undefined ? [] : ["rounded weights"]),
    ];
    return { dropped, rounded, basis: basis.join(", ") };
  }
}
