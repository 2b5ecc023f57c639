import { type KeptSize, routerGroupOf } from "./kept-sets.js";

/** How many times the median's energy is a super expert's. */
const FACTOR = 100;

/**
 * Super experts (Su et al. 2025, arXiv 2507.23279): few experts with extreme outputs for few tokens, which attention depends
 * on in later layers. They are told by what they do: without their contributions the layer's output changes by over a hundred times
 * as much, squared and summed over all tokens, as without those of the median expert that is used. In ascending order;
 * where there are more than may stay, those with the largest.
 *
 * @param energy `[experts]`: sum of the squares of weight x ||E(x)||
 */
export function superExperts(energy: Float64Array, size: Omit<KeptSize, "fixed">): number[] {
  const used = energy.filter((value) => value > 0).sort();
  const median = used[Math.floor((used.length - 1) / 2)] ?? 0;
  const room = new Array<number>(size.routerGroups).fill(size.kept / size.routerGroups);
  const found = [...energy.keys()].filter((e) => energy[e]! > FACTOR * median);
  found.sort((a, b) => energy[b]! - energy[a]! || a - b);
  return found.filter((e) => room[routerGroupOf(e, size)]!-- > 0).sort((a, b) => a - b);
}
