import { isMoe, type ModelDescription } from "../model/description.js";
import { expertCounts } from "../model/router.js";

/** Expert counts that are worth a look: about 7/8, 3/4, 5/8, 1/2 and 1/4 of them, as far as the router can do with them. */
export function expertTargets({ experts, layers }: ModelDescription): number[] {
  const { step, least } = expertCounts(layers.find(isMoe)!.feedForward.router);
  const counts = [7 / 8, 3 / 4, 5 / 8, 1 / 2, 1 / 4].map((share) => Math.round((experts * share) / step) * step);
  return [...new Set(counts)].filter((count) => count >= least && count < experts);
}
