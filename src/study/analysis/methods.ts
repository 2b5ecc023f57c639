import type { Estimates, MethodAnalysis, MethodPair } from "./analysis.js";
import { bestUnder } from "./best.js";
import { mixCorrelations } from "./correlation.js";
import { type Estimate, estimate } from "./estimate.js";
import { hypervolume } from "./hypervolume.js";
import type { Optimal } from "./optimal.js";
import { paretoFrontier } from "./pareto.js";
import { mean, type Place, type Point } from "./points.js";
import { predictorsOf } from "./predictors.js";
import { differenceOf, meanOf, type RedrawnScores } from "./redrawn.js";

/** A method's compared points, with what came of them in the resamples. */
export interface Comparable {
  readonly method: string;
  /** Indices of the points in their ratio. */
  readonly indices: readonly number[];
  readonly points: readonly Point[];
  readonly redrawn: readonly RedrawnScores[] | undefined;
}

/** The original's averages, and in the resamples where it could be drawn like the points. */
export interface OriginalScores extends Pick<Point, "mc" | "gen" | "avg"> {
  readonly redrawn: RedrawnScores | undefined;
}

/** A number of a method and its value in each resample. */
interface Sampled {
  readonly value: number;
  readonly redrawn: Float64Array | undefined;
}

interface Summary {
  readonly hypervolume: Sampled;
  readonly mean: Readonly<Record<"mc" | "gen" | "avg", Sampled>>;
}

/** @param reference of the hypervolume; undefined where no mix is compared. */
export function analyseMethod(own: Comparable, optimal: Optimal, reference: Place | undefined): MethodAnalysis {
  const { method, indices, points } = own;
  const summary = reference && summarise(own, reference);
  const best = bestUnder(points, "avg");
  return {
    method,
    points: indices,
    frontier: paretoFrontier(points).map((i) => indices[i]!),
    optimal,
    hypervolume: summary && toEstimate(summary.hypervolume),
    mean: summary && mapAverages((average) => toEstimate(summary.mean[average])),
    best: best === undefined ? undefined : indices[best],
    correlations: mixCorrelations(points),
    predictors: predictorsOf(points),
  };
}

/** Differences of every two methods, in the resamples too: what all methods owe to the items drawn cancels. */
export function comparePairs(
  methods: readonly Comparable[],
  reference: Place,
  original: OriginalScores | undefined,
): MethodPair[] {
  const summaries = methods.map((method) => summarise(method, reference));
  return methods.flatMap(({ method: first }, i) =>
    methods.slice(i + 1).map(({ method: second }, step) => {
      const [a, b] = [summaries[i]!, summaries[i + 1 + step]!];
      return {
        first,
        second,
        hypervolume: less(a.hypervolume, b.hypervolume),
        mean: mapAverages((average) => less(a.mean[average], b.mean[average])),
        closed: original === undefined ? {} : closedGaps(a, b, original),
      };
    }),
  );
}

function summarise({ points, redrawn }: Comparable, reference: Place): Summary {
  const resamples = redrawn?.[0]?.mc.length ?? 0;
  return {
    hypervolume: {
      value: hypervolume(points, reference),
      redrawn:
        redrawn &&
        Float64Array.from({ length: resamples }, (_, i) => {
          const places = redrawn.map(({ mc, gen }) => ({ mc: mc[i]!, gen: gen[i]! }));
          return hypervolume(places, reference);
        }),
    },
    mean: mapAverages((average) => ({
      value: mean(points.map((point) => point[average])),
      redrawn: redrawn && meanOf(redrawn.map((scores) => scores[average])),
    })),
  };
}

/** (second - first) / (original - first) of each average that the first method loses something of. */
function closedGaps({ mean: first }: Summary, { mean: second }: Summary, original: OriginalScores) {
  const names = (["mc", "gen", "avg"] as const).filter((average) => original[average] > first[average].value);
  return Object.fromEntries(
    names.map((average) => {
      const [a, b, all] = [first[average], second[average], original.redrawn?.[average]];
      const share = (from: number, to: number, end: number) => (to - from) / (end - from);
      const redrawn = a.redrawn && b.redrawn && all && a.redrawn.map((from, i) => share(from, b.redrawn![i]!, all[i]!));
      return [average, estimate(share(a.value, b.value, original[average]), redrawn)];
    }),
  );
}

function less(first: Sampled, second: Sampled): Estimate {
  const redrawn = first.redrawn && second.redrawn && differenceOf(first.redrawn, second.redrawn);
  return estimate(first.value - second.value, redrawn);
}

function toEstimate({ value, redrawn }: Sampled): Estimate {
  return estimate(value, redrawn);
}

/** One value for each average. */
export function mapAverages<Value>(make: (average: keyof Estimates) => Value): Record<keyof Estimates, Value> {
  return { mc: make("mc"), gen: make("gen"), avg: make("avg") };
}
