import { paretoFrontier } from "./pareto.js";
import type { Place } from "./points.js";

/**
 * Area of the plane that lies above the reference point and below at least one of the points, in squared points of per
 * cent: how far a set of compressions pushes out the frontier of MC and GEN. Points that are not above the reference in
 * both add nothing, nor do dominated ones.
 * Throws RangeError for a score that is not finite.
 */
export function hypervolume(points: readonly Place[], reference: Place): number {
  const above = points.filter(({ mc, gen }) => mc > reference.mc && gen > reference.gen);
  let area = 0;
  let left = reference.mc;
  // In ascending MC each point of the frontier is as high as the union of all to its right: one strip each.
  for (const i of paretoFrontier(above)) {
    const { mc, gen } = above[i]!;
    area += (mc - left) * (gen - reference.gen);
    left = mc;
  }
  return area;
}
