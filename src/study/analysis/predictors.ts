import type { Predictor } from "./analysis.js";
import { MEASURES, type Measure, mean, type Point } from "./points.js";
import { rankQuality } from "./rank-quality.js";

const SIGNS: Readonly<Record<Measure, number>> = { kl: -1, agreement: 1, perplexity: -1 };

/** Every measure on held-out text that all points have, by domain and, where there are several, in the mean over them. */
export function predictorsOf(points: readonly Pick<Point, "avg" | "heldOut">[]): Predictor[] {
  if (points.length === 0) return [];
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
