import type { Aligner } from "./align.js";
import type { KeptChoice } from "./choose/choose-kept.js";
import { superExperts } from "./choose/super-experts.js";
import {
  type Cluster,
  type ExpertTraits,
  keepMostSalient,
  nearestCentroid,
  pseudoPrune,
  withinRouterGroups,
} from "./group.js";
import { hierarchicalClusters } from "./hierarchical.js";
import type { LayerObservation } from "./observer.js";
import type { Group, LayerPlan } from "./plan.js";
import { rankFirst, replaceZeros } from "./saliency.js";
import type { Settings } from "./settings.js";
import { similarity } from "./similarity.js";
import type { LayerTrace } from "./trace.js";

/** What a plan is made by, besides the observation. */
export interface LayerPlanOptions {
  readonly layer: number;
  /** Experts that stay. */
  readonly kept: number;
  /** Groups of the router that stay apart (`RouterDescription.groups`). */
  readonly routerGroups: number;
  readonly settings: Settings;
  /** The experts that stay, where the saliency alone does not say. */
  readonly chosen?: KeptChoice | undefined;
  /** Makes what aligns neurons, where the settings ask for it; without it plans have no permutations. */
  readonly aligner: (() => Promise<Aligner>) | undefined;
  /** Called between long steps, for the process to hear signals; throws to stop. */
  readonly pause: () => Promise<void>;
  readonly trace?: LayerTrace | undefined;
  /** Told the share of the experts to be aligned that are, 0 to 1. */
  readonly onAligned?: ((share: number) => void) | undefined;
}

/** Decides what to do with a layer: which experts stay, which join them, and how their neurons correspond. */
export async function planLayer(observation: LayerObservation, options: LayerPlanOptions): Promise<LayerPlan> {
  const { layer, kept, routerGroups, settings, chosen, pause, trace } = options;
  const official = settings.statistics === "batch-means";
  const saliency = official ? replaceZeros(observation.saliency) : observation.saliency;
  const similar = similarity({ experts: saliency.length, ...observation }, settings);
  const fixed = protectedExperts(observation, options);
  const ranking = rankFirst(saliency, chosen?.kept ?? fixed ?? []);
  const traits = { saliency: ranking, similarity: similar.combined, meanOutputs: observation.meanOutputs };
  const clusters = withinRouterGroups(traits, routerGroups, kept, (some, count) => cluster(some, count, settings));
  // The official code lists members by index; only the order of summation depends on it.
  if (official) for (const { absorbed } of clusters) absorbed.sort((a, b) => a - b);

  const aligned = needsAlignment(settings) && clusters.some(({ absorbed }) => absorbed.length > 0);
  const aligner = aligned ? await options.aligner?.() : undefined;
  const groups: Group[] = [];
  const toAlign = clusters.reduce((sum, { absorbed }) => sum + absorbed.length, 0);
  let done = 0;
  for (const { centroid, absorbed } of clusters) {
    const members = [centroid, ...absorbed];
    const permutations: Record<string, number[]> = {};
    for (const member of aligner === undefined ? [] : absorbed) {
      await pause();
      const alignment = await aligner!.align(centroid, member);
      permutations[member] = Array.from(alignment.permutation);
      trace?.alignment(centroid, member, alignment);
      options.onAligned?.(++done / toAlign);
    }
    groups.push({ members, weights: weightsOf(members, saliency, settings), permutations });
  }
  const keptExperts = clusters.map(({ centroid }) => centroid).sort((a, b) => a - b);
  const plan = {
    layer,
    keptExperts,
    groups,
    ...(fixed && { superExperts: fixed }),
    ...(chosen && { choice: chosen.choice }),
  };
  trace?.planned(plan, saliency, similar, observation);
  return plan;
}

/** The experts of a layer that stay in any case; undefined where none are protected. */
export function protectedExperts(
  { energy }: Pick<LayerObservation, "energy">,
  { kept, routerGroups, settings }: Pick<LayerPlanOptions, "kept" | "routerGroups" | "settings">,
): number[] | undefined {
  return settings.protectSuperExperts
    ? superExperts(energy, { experts: energy.length, kept, routerGroups })
    : undefined;
}

/** Whether a method aligns the neurons of what it merges. */
export function needsAlignment(settings: Settings): boolean {
  return settings.merging === "saliency" && (settings.alignActivations || settings.alignWeights !== "none");
}

function cluster({ saliency, similarity, meanOutputs }: ExpertTraits, kept: number, settings: Settings): Cluster[] {
  switch (settings.grouping) {
    case "pseudo-prune":
      return pseudoPrune(saliency, similarity, kept, settings);
    case "nearest":
      return nearestCentroid(saliency, similarity, kept);
    case "hierarchical":
      return hierarchicalClusters(meanOutputs!, saliency.length, kept);
    case "none":
      return keepMostSalient(saliency, kept);
  }
}

/** Averaging weights of a group: by saliency, equal, or the centroid alone. */
function weightsOf(members: readonly number[], saliency: Float64Array, settings: Settings): number[] {
  if (settings.merging === "none") return members.map((_, i) => (i === 0 ? 1 : 0));
  const values = members.map((e) => (settings.merging === "mean" ? 1 : saliency[e]!));
  const total = values.reduce((a, b) => a + b, 0);
  // A group that no token used has nothing to be weighted by: plain mean.
  return values.map((value) => (total > 0 ? value / total : 1 / members.length));
}
