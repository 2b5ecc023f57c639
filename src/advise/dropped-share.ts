import { rank, saliencyOf } from "../compress/saliency.js";
import type { Method } from "../compress/settings.js";
import { isMoe, type ModelDescription } from "../model/description.js";
import { expertCounts } from "../model/router.js";
import type { Observation } from "../observe/observation.js";
import { observedSettings } from "../observe/observed-settings.js";

/** What a share of dropped experts is known from. */
export type ShareBasis = "observed" | "all experts alike";

/** Tells what part of the routed experts' output is made by experts that a method does not keep, from 0 to 1. */
export interface DroppedShares {
  readonly basis: ShareBasis;
  of(experts: number): Promise<number>;
}

/** Without an observation: every expert is taken to matter as much as any other. */
export function alike({ experts }: ModelDescription): DroppedShares {
  return { basis: "all experts alike", of: async (kept) => 1 - kept / experts };
}

/**
 * From an observation: the energy sum (gate x ||E(x)||)^2 of the experts that a method drops or merges into others, as a
 * share of all experts', the mean over layers. It is the squared error of the layer's output, relative to its terms, if
 * nothing took the place of the dropped experts; that merged ones do is not known without running. Which experts stay is
 * exact: the most salient ones, in each of the router's groups by itself. Clusters of mean outputs (hierarchical) have no
 * such order, so that their experts are taken to be alike.
 * Errors: those of reading an observation.
 */
export async function observedShares(
  observation: Observation,
  model: ModelDescription,
  method: Method,
  mix: string | undefined,
): Promise<DroppedShares> {
  const settings = observedSettings(method, {});
  if (settings.grouping === "hierarchical") return alike(model);
  const { step } = expertCounts(model.layers.find(isMoe)!.feedForward.router);
  const observed = observation.mix(mix);
  const layers: { readonly order: readonly number[][]; readonly energy: Float64Array }[] = [];
  for (const layer of observation.manifest.layers) {
    const sums = await observation.sums(layer, observed);
    layers.push({ order: ranked(saliencyOf(sums, settings), step), energy: sums.energy.combined });
  }
  return {
    basis: "observed",
    of: async (kept) => {
      const shares = layers.map(({ order, energy }) => {
        const total = energy.reduce((sum, value) => sum + value, 0);
        const dropped = order.flatMap((group) => group.slice(kept / step));
        return total === 0 ? 0 : dropped.reduce((sum, expert) => sum + energy[expert]!, 0) / total;
      });
      return shares.reduce((sum, share) => sum + share, 0) / shares.length;
    },
  };
}

/** Experts of each of the router's groups, the most salient first. */
function ranked(saliency: Float64Array, groups: number): number[][] {
  const size = saliency.length / groups;
  return Array.from({ length: groups }, (_, group) =>
    rank(saliency.slice(group * size, (group + 1) * size)).map((expert) => group * size + expert),
  );
}
