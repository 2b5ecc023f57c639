import { keepMostSalient, withinRouterGroups } from "../group.js";

/** Which sets of experts can stay: as many of each of the router's groups (`RouterDescription.groups`). */
export interface KeptSize {
  readonly experts: number;
  readonly kept: number;
  readonly routerGroups: number;
  /** Experts that stay in any case. */
  readonly fixed: ReadonlySet<number>;
}

/** The router's group of an expert. */
export function routerGroupOf(
  expert: number,
  { experts, routerGroups }: Pick<KeptSize, "experts" | "routerGroups">,
): number {
  return Math.floor((expert * routerGroups) / experts);
}

/** The experts that rank highest, those that are fixed before all others, in ascending order. */
export function highest(ranking: Float64Array, { kept, routerGroups, fixed }: KeptSize): number[] {
  const saliency = ranking.map((value, e) => (fixed.has(e) ? Number.POSITIVE_INFINITY : value));
  const traits = { saliency, similarity: new Float64Array(ranking.length ** 2), meanOutputs: undefined };
  const clusters = withinRouterGroups(traits, routerGroups, kept, (some, count) =>
    keepMostSalient(some.saliency, count),
  );
  return clusters.map(({ centroid }) => centroid).sort((a, b) => a - b);
}

/** `[experts]`: 1 for those that do not stay. */
export function droppedOf(kept: Iterable<number>, experts: number): Uint8Array {
  const dropped = new Uint8Array(experts).fill(1);
  for (const expert of kept) dropped[expert] = 0;
  return dropped;
}
