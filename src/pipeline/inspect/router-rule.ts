import type { ExpertGroups } from "../../engine/backend.js";
import type { RouterDescription } from "../../model/description.js";

/** How a token's experts are chosen and weighed. */
export interface RouterRule {
  readonly scores: RouterDescription["scores"];
  /** A bias of the logits. */
  readonly bias: boolean;
  /** A bias of each expert that counts for the choice alone (`e_score_correction_bias`). */
  readonly correctionBias: boolean;
  readonly groups: ExpertGroups | undefined;
  /** The chosen scores are divided by their sum. */
  readonly normalised: boolean;
  /** Factor on the weights (`routed_scaling_factor`). */
  readonly scale: number;
  /** All of it, for people. */
  readonly inWords: string;
}

export function routerRule(router: RouterDescription): RouterRule {
  const { scores, bias, selectionBias, normalise, scale = 1, groups } = router;
  return {
    scores,
    bias: bias !== undefined,
    correctionBias: selectionBias !== undefined,
    groups: groups !== undefined && groups.count > 1 ? groups : undefined,
    normalised: normalise,
    scale,
    inWords: inWords(router),
  };
}

function inWords(router: RouterDescription): string {
  const { scores, topK, groups, scale = 1, sparseMixer } = router;
  const experts = topK === 1 ? "the best expert" : `the best ${topK} experts`;
  if (sparseMixer !== undefined) return `SparseMixer (jitter ${sparseMixer.jitter}), ${experts}`;
  const grouped = groups !== undefined && groups.count > 1;
  const score = grouped && groups.score === "max" ? "best expert" : "best two experts";
  return [
    scores + (router.bias === undefined ? "" : " of biased logits"),
    experts +
      (router.selectionBias === undefined ? "" : " by scores with a correction bias") +
      (grouped ? `, of the best ${groups.kept} of ${groups.count} groups by their ${score}` : ""),
    router.normalise ? "weights normalised" : "weights not normalised",
    ...(scale === 1 ? [] : [`times ${scale}`]),
    ...(router.expertScale === undefined ? [] : ["times a factor of each expert"]),
    ...(router.scalesInputs === true ? ["on the experts' inputs"] : []),
  ].join(", ");
}
