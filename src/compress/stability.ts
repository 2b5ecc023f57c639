import type { LayerObservation } from "./observer.js";
import type { LayerPlan } from "./plan.js";
import { type LayerPlanOptions, planLayer } from "./plan-layer.js";

/** An observation that later tokens do not change, without what only alignment needs. */
export function snapshot(observation: LayerObservation): LayerObservation {
  const { gateGram, routed } = observation;
  return {
    ...observation,
    gateGram: gateGram?.slice(),
    routed: routed.slice(),
    samples: undefined,
    sampled: undefined,
  };
}

/**
 * Share of a layer's experts that another observation does something else with: keeps instead of dropping or merging, or the
 * other way round, or merges into another centroid.
 */
export async function changedShare(
  other: LayerObservation,
  plan: LayerPlan,
  options: Omit<LayerPlanOptions, "aligner" | "trace">,
): Promise<number> {
  const experts = other.saliency.length;
  const [before, after] = [await planLayer(other, { ...options, aligner: undefined }), plan].map(centroids);
  let changed = 0;
  for (let expert = 0; expert < experts; expert++) if (before!.get(expert) !== after!.get(expert)) changed += 1;
  return changed / experts;
}

/** The centroid of each expert that is kept or merged; those that are dropped have none. */
function centroids({ groups }: LayerPlan): Map<number, number> {
  return new Map(
    groups.flatMap(({ members, weights }) =>
      members.filter((_, i) => weights[i]! > 0 || i === 0).map((member) => [member, members[0]!] as const),
    ),
  );
}
