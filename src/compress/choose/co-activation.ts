import { type KeptSize, routerGroupOf } from "./kept-sets.js";

/**
 * The experts that stay when those are dropped one by one whose loss, together with what is dropped already, is least.
 * Without renormalised weights, what dropping a set S takes from the outputs is
 *
 *     sum_t || sum_{e in S} c_te ||² = sum_{e, f in S} G_ef
 *
 * so that the next one costs G_ee + 2 sum_{f in S} G_ef. Of equal ones the last goes first.
 *
 * @param gram G `[experts, experts]` (`MeasuredBlock.contributionGram`)
 */
export function keepByCoActivation(gram: Float64Array, size: KeptSize): number[] {
  const { experts, kept, routerGroups, fixed } = size;
  const room = new Array<number>(routerGroups).fill((experts - kept) / routerGroups);
  const cost = Float64Array.from({ length: experts }, (_, e) => gram[e * (experts + 1)]!);
  const left = new Set(cost.keys());
  while (left.size > kept) {
    let next: number | undefined;
    for (const e of left) {
      if (fixed.has(e) || room[routerGroupOf(e, size)] === 0) continue;
      if (next === undefined || cost[e]! <= cost[next]!) next = e;
    }
    left.delete(next!);
    room[routerGroupOf(next!, size)]!--;
    for (const e of left) cost[e]! += 2 * gram[e * experts + next!]!;
  }
  return [...left];
}
