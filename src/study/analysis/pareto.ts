import type { Place } from "./points.js";

/**
 * Indices of the points that no other dominates, in ascending MC (descending GEN); equal points by index. A point dominates
 * another where it is at least as good in both, and better in one. So points that are equal are on the frontier together,
 * and of two with the same MC only the one with the higher GEN is.
 * Throws RangeError for a score that is not finite.
 */
export function paretoFrontier(points: readonly Place[]): number[] {
  if (points.some(({ mc, gen }) => !Number.isFinite(mc) || !Number.isFinite(gen))) {
    throw new RangeError("a score is not a finite number");
  }
  const order = points
    .map((_, i) => i)
    .sort((a, b) => points[b]!.mc - points[a]!.mc || points[b]!.gen - points[a]!.gen);
  const frontier: number[] = [];
  // Whoever came before has at least as much MC, so that more GEN than all of them is what keeps a point from being dominated.
  let last: Place | undefined;
  for (const i of order) {
    const point = points[i]!;
    const equal = last !== undefined && point.mc === last.mc && point.gen === last.gen;
    if (last !== undefined && point.gen <= last.gen && !equal) continue;
    frontier.push(i);
    last = point;
  }
  return frontier.sort((a, b) => points[a]!.mc - points[b]!.mc || a - b);
}
