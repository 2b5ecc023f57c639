import type { Place } from "./points.js";

/**
 * The paper's reference point of the hypervolume: one point of per cent below the lowest MC and below the lowest GEN of
 * all methods at a ratio, over the mixes that are compared (docs/study-analysis.md says how that was found out).
 * Throws RangeError where there are no points.
 */
export function referencePoint(points: readonly Place[], margin = 1): Place {
  if (points.length === 0) throw new RangeError("there is no reference point of no points");
  return {
    mc: Math.min(...points.map(({ mc }) => mc)) - margin,
    gen: Math.min(...points.map(({ gen }) => gen)) - margin,
  };
}
