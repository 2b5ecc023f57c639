import type { SampledMeans } from "./mean-sample.js";
import type { Group } from "./plan.js";
import type { Settings } from "./settings.js";
import { type SimilarityInputs, similarity } from "./similarity.js";

/** How far a layer's groups can be trusted that were made from a sample of tokens. */
export interface SamplingError {
  readonly tokens: number;
  /** Of the similarities of two experts; undefined: the sample had too few batches to tell. */
  readonly standardError: { readonly median: number; readonly most: number } | undefined;
  /**
   * Experts that joined a group, and those of them whose similarity is nearer to that of the next candidate than the
   * standard error of the difference. Undefined for groupings that do not compare candidates.
   */
  readonly decisions: { readonly all: number; readonly within: number } | undefined;
}

/** Standard errors of all similarities `[experts, experts]` by the jackknife over the sample's parts. */
export function similarityErrors(
  inputs: SimilarityInputs,
  { without }: SampledMeans,
  settings: Settings,
): Float64Array | undefined {
  const parts = without.length;
  if (parts === 0) return undefined;
  const estimates = without.map((meanOutputs) => similarity({ ...inputs, meanOutputs }, settings).combined);
  return estimates[0]!.map((_, pair) => {
    const mean = estimates.reduce((sum, each) => sum + each[pair]!, 0) / parts;
    const squares = estimates.reduce((sum, each) => sum + (each[pair]! - mean) ** 2, 0);
    return Math.sqrt(((parts - 1) / parts) * squares);
  });
}

/**
 * What a sample's error means for a plan.
 *
 * @param groups in the order in which they were filled
 * @param routerGroups blocks of experts that do not mix
 */
export function samplingError(
  inputs: SimilarityInputs,
  means: SampledMeans,
  settings: Settings,
  groups: readonly Group[],
  routerGroups: number,
): SamplingError {
  const { experts } = inputs;
  const errors = similarityErrors(inputs, means, settings);
  if (errors === undefined) return { tokens: means.tokens, standardError: undefined, decisions: undefined };
  const pairs = errors.filter((_, pair) => Math.floor(pair / experts) < pair % experts).sort();
  const standardError = { median: pairs[Math.floor(pairs.length / 2)]!, most: pairs.at(-1)! };
  const { combined } = similarity({ ...inputs, meanOutputs: means.all }, settings);
  const block = (expert: number) => Math.floor((expert * routerGroups) / experts);
  let [all, within] = [0, 0];
  for (const [index, { members }] of groups.entries()) {
    const centroid = members[0]!;
    for (const member of members.slice(1)) {
      const margins = rivals(groups, index, member, settings)
        .filter(([a, b]) => block(a) === block(b))
        .map(([a, b]) => {
          const [own, other] = [centroid * experts + member, a * experts + b];
          return (combined[own]! - combined[other]!) / Math.hypot(errors[own]!, errors[other]!);
        });
      all += 1;
      if (margins.some((margin) => margin < 1)) within += 1;
    }
  }
  const compared = settings.grouping === "pseudo-prune" || settings.grouping === "nearest";
  return { tokens: means.tokens, standardError, decisions: compared ? { all, within } : undefined };
}

/** Pairs of centroid and member that a member's pair was preferred to. */
function rivals(groups: readonly Group[], index: number, member: number, { grouping }: Settings): [number, number][] {
  if (grouping === "nearest")
    return groups.filter((_, i) => i !== index).map(({ members }): [number, number] => [members[0]!, member]);
  // Pseudo-pruning: those that were free still, and were left to later groups.
  const centroid = groups[index]!.members[0]!;
  return groups.slice(index + 1).flatMap(({ members }) => members.slice(1).map((e): [number, number] => [centroid, e]));
}
