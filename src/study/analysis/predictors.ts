import type { Predictor } from "./analysis.js";
import { MEASURES, type Measure, mean, type Point } from "./points.js";
import { rankQuality } from "./rank-quality.js";

const SIGNS: Readonly<Record<Measure, number>> = { kl: -1, agreement: 1, perplexity: -1 };

type Measured = Pick<Point, "avg" | "heldOut" | "rank">;

/** Every measure on held-out text that all points have, by domain and, where there are several, in the mean over them. */
export function predictorsOf(points: readonly Measured[]): Predictor[] {
  return points.length === 0 ? [] : [...byDomain(points), ...byRank(points)];
}

function byRank(points: readonly Measured[]): Predictor[] {
  const ranks = points.map(({ rank }) => rank);
  if (!ranks.every((rank) => rank !== undefined)) return [];
  const averages = points.map(({ avg }) => avg);
  return [{ measure: "rank", domain: undefined, quality: rankQuality(ranks, averages) }];
}

function byDomain(points: readonly Measured[]): Predictor[] {
  const averages = points.map(({ avg }) => avg);
  return MEASURES.flatMap((measure) => {
    const predictor = (domain: string | undefined, values: readonly number[]): Predictor => ({
      measure,
      domain,
      quality: rankQuality(
        values.map((value) => value * SIGNS[measure]),
        averages,
      ),
    });
    const domains = Object.keys(points[0]!.heldOut).flatMap((domain) => {
      const values = points.map(({ heldOut }) => heldOut[domain]?.[measure]);
      return values.every((value) => value !== undefined) ? [{ domain, values }] : [];
    });
    const single = domains.map(({ domain, values }) => predictor(domain, values));
    if (domains.length < 2) return single;
    return [
      ...single,
      predictor(
        undefined,
        points.map((_, i) => mean(domains.map(({ values }) => values[i]!))),
      ),
    ];
  });
}
