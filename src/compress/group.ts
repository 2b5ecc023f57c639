import { ReamError } from "../errors.js";
import { rank } from "./saliency.js";
import type { Settings } from "./settings.js";

/** A centroid and the experts it absorbs, nearest first. */
export interface Cluster {
  readonly centroid: number;
  readonly absorbed: number[];
}

/** What experts are grouped by. */
export interface ExpertTraits {
  /** `[experts]` */
  readonly saliency: Float64Array;
  /** `[experts, experts]`: larger is nearer. */
  readonly similarity: Float64Array;
  /** `[experts, hidden]` */
  readonly meanOutputs: Float64Array | undefined;
}

/**
 * Clusters each of the router's groups, `count` equal consecutive blocks of experts, by itself: a router that chooses
 * from groups needs them equally large.
 *
 * @param cluster clusters the experts that it is given into `kept`; it counts them from 0
 */
export function withinRouterGroups(
  traits: ExpertTraits,
  count: number,
  kept: number,
  cluster: (traits: ExpertTraits, kept: number) => Cluster[],
): Cluster[] {
  if (count === 1) return cluster(traits, kept);
  const { saliency, similarity, meanOutputs } = traits;
  const experts = saliency.length;
  const size = experts / count;
  const hidden = (meanOutputs?.length ?? 0) / experts;
  return Array.from({ length: count }, (_, group) => {
    const [begin, end] = [group * size, (group + 1) * size];
    const own: ExpertTraits = {
      saliency: saliency.subarray(begin, end),
      similarity: Float64Array.from(
        { length: size * size },
        (_, i) => similarity[(begin + Math.floor(i / size)) * experts + begin + (i % size)]!,
      ),
      meanOutputs: meanOutputs?.subarray(begin * hidden, end * hidden),
    };
    return cluster(own, kept / count).map(({ centroid, absorbed }) => ({
      centroid: begin + centroid,
      absorbed: absorbed.map((expert) => begin + expert),
    }));
  }).flat();
}

/** Checks that `kept` experts can absorb the others; an error says what would fit. */
export function checkRoom(experts: number, kept: number, settings: Settings): void {
  const { grouping, groupSize, groupIncludesCentroid } = settings;
  if (grouping !== "pseudo-prune") return;
  const room = kept * (groupIncludesCentroid ? groupSize - 1 : groupSize);
  if (room >= experts - kept) return;
  const needed = Math.ceil((experts - kept) / kept) + (groupIncludesCentroid ? 1 : 0);
  throw new ReamError(
    "GROUP_ROOM",
    `${kept} groups of ${groupSize} have room for ${room} experts, ${experts - kept} have to be absorbed`,
    { hint: `Use --group-size ${needed} or more, or keep more experts.` },
  );
}

/**
 * Pseudo-pruning (REAM, Section 4): the most salient experts are centroids; in decreasing saliency each absorbs its
 * most similar unassigned non-centroids until its group is full.
 *
 * @param similarity `[experts, experts]`
 */
export function pseudoPrune(
  saliency: Float64Array,
  similarity: Float64Array,
  kept: number,
  settings: Settings,
): Cluster[] {
  const experts = saliency.length;
  checkRoom(experts, kept, settings);
  const capacity = settings.groupIncludesCentroid ? settings.groupSize - 1 : settings.groupSize;
  const ranked = rank(saliency);
  const unassigned = new Set(ranked.slice(kept));
  return ranked.slice(0, kept).map((centroid) => {
    const absorbed = [...unassigned].sort(
      (a, b) => similarity[centroid * experts + b]! - similarity[centroid * experts + a]! || a - b,
    );
    absorbed.length = Math.min(absorbed.length, capacity);
    for (const expert of absorbed) unassigned.delete(expert);
    return { centroid, absorbed };
  });
}

/** Every expert that is not a centroid joins the most similar one (M-SMoE, Li et al. 2024). */
export function nearestCentroid(saliency: Float64Array, similarity: Float64Array, kept: number): Cluster[] {
  const experts = saliency.length;
  const ranked = rank(saliency);
  const clusters = ranked.slice(0, kept).map((centroid): Cluster => ({ centroid, absorbed: [] }));
  for (const expert of ranked.slice(kept)) {
    const near = (cluster: Cluster) => similarity[cluster.centroid * experts + expert]!;
    clusters.reduce((best, cluster) => (near(cluster) > near(best) ? cluster : best)).absorbed.push(expert);
  }
  for (const { centroid, absorbed } of clusters) {
    absorbed.sort((a, b) => similarity[centroid * experts + b]! - similarity[centroid * experts + a]! || a - b);
  }
  return clusters;
}

/** Each kept expert alone, the others dropped: pruning. */
export function keepMostSalient(saliency: Float64Array, kept: number): Cluster[] {
  return rank(saliency)
    .slice(0, kept)
    .map((centroid) => ({ centroid, absorbed: [] }));
}
