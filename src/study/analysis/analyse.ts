import type { ItemsOfStudy } from "../items.js";
import { mixKey } from "../mix.js";
import type { StudyResults } from "../results.js";
import type { Analysis, PointAnalysis, RatioAnalysis } from "./analysis.js";
import { bestUnder } from "./best.js";
import { redraw, refuseOtherScores } from "./bootstrap.js";
import { estimate } from "./estimate.js";
import { analyseMethod, type Comparable, comparePairs, mapAverages, type OriginalScores } from "./methods.js";
import { optimalMixes } from "./optimal.js";
import { paretoFrontier } from "./pareto.js";
import { type Point, pointsOf } from "./points.js";
import { predictorsOf } from "./predictors.js";
import { type Draws, differenceOf, type RedrawnScores } from "./redrawn.js";
import { referencePoint } from "./reference.js";

export interface AnalyseOptions {
  /** Scores of single items, from `readItems`. */
  readonly items?: ItemsOfStudy | undefined;
  readonly seed?: number | undefined;
  readonly resamples?: number | undefined;
}

/**
 * What a study says, ratio by ratio.
 * Errors: ITEMS_DIFFER where the items do not fit the results or each other; RangeError for fewer than two resamples.
 */
export function analyse(results: StudyResults, { items, seed = 42, resamples = 2000 }: AnalyseOptions = {}): Analysis {
  if (!(resamples >= 2)) throw new RangeError(`${resamples} resamples have no spread`);
  if (items) refuseOtherScores(results, items);
  const points = pointsOf(results.rows);
  const counts = [...new Set(points.map(({ experts }) => experts))].sort((a, b) => b - a);
  const { title, model, source, note, original } = results;
  return {
    title,
    model,
    source,
    note,
    original: original && { mc: original.mc, gen: original.gen, avg: original.avg },
    seed,
    resamples,
    ratios: counts.map((experts) => {
      const own = points.filter((point) => point.experts === experts);
      return analyseRatio(results, own, items, { seed, resamples });
    }),
  };
}

function analyseRatio(
  results: StudyResults,
  points: readonly Point[],
  items: ItemsOfStudy | undefined,
  draws: Draws,
): RatioAnalysis {
  const redrawn = redraw(points, results, items, draws);
  const shared = sharedMixes(points);
  const indices = points.flatMap((point, i) => (shared.has(mixKey(point.mix)) ? [i] : []));
  const compared = indices.map((i) => points[i]!);
  const { experts } = points[0]!;
  const given = results.references?.[experts];
  const reference = compared.length === 0 ? undefined : (given ?? referencePoint(compared));
  const optimal = optimalMixes(compared);
  const methods = methodsOf(points).map((method): Comparable => {
    const own = indices.filter((i) => points[i]!.method === method);
    const members = own.map((i) => points[i]!);
    return { method, indices: own, points: members, redrawn: redrawn && own.map((i) => redrawn.points[i]!) };
  });
  const original = results.original && { ...results.original, redrawn: redrawn?.original };
  return {
    experts,
    share: experts / results.model.experts,
    points: points.map((point, i) => pointAnalysis(point, shared.has(mixKey(point.mix)), redrawn?.points[i], original)),
    mixes: compared.filter(({ method }) => method === compared[0]!.method).map(({ mix }) => mix),
    uncertainty: redrawn?.from,
    reference,
    frontier: paretoFrontier(compared).map((i) => indices[i]!),
    methods: methods.map((own) => analyseMethod(own, optimal.get(own.method) ?? NONE, reference)),
    pairs: reference === undefined ? [] : comparePairs(methods, reference, original),
    best: bestUnder(points, "avg")!,
    predictors: predictorsOf(compared),
  };
}

const NONE = { own: 0, common: 0, of: 0 };

/** Methods that were tried with at least one mix. */
function methodsOf(points: readonly Point[]): string[] {
  return [...new Set(points.filter(({ mix }) => mixKey(mix) !== "").map(({ method }) => method))];
}

/** Keys of the mixes that every one of them was tried with. */
function sharedMixes(points: readonly Point[]): Set<string> {
  const methods = methodsOf(points);
  const tried = new Set(points.map(({ method, mix }) => JSON.stringify([method, mixKey(mix)])));
  const keys = points.map(({ mix }) => mixKey(mix)).filter((key) => key !== "");
  return new Set(keys.filter((key) => methods.every((method) => tried.has(JSON.stringify([method, key])))));
}

function pointAnalysis(
  point: Point,
  compared: boolean,
  redrawn: RedrawnScores | undefined,
  original: OriginalScores | undefined,
): PointAnalysis {
  const { method, mix, rows, tasks, heldOut } = point;
  const change = (average: "mc" | "gen" | "avg", from: OriginalScores) => {
    const drawn = redrawn && from.redrawn && differenceOf(redrawn[average], from.redrawn[average]);
    return estimate(point[average] - from[average], drawn);
  };
  return {
    method,
    mix,
    rows,
    compared,
    scores: mapAverages((average) => estimate(point[average], redrawn?.[average])),
    change: original && mapAverages((average) => change(average, original)),
    tasks,
    heldOut,
  };
}
