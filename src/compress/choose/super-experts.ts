import { type KeptSize, routerGroupOf } from "./kept-sets.js";
import type { MeasuredBlock } from "./measured-block.js";

/** How many times the median's loss is a super expert's. */
const FACTOR = 100;

/** What the outputs lose without each expert alone `[experts]`, summed over blocks' tokens. */
export function lostWithoutEach(blocks: readonly MeasuredBlock[]): Float64Array {
  const experts = blocks[0]!.experts;
  return Float64Array.from({ length: experts }, (_, e) => {
    const dropped = new Uint8Array(experts);
    dropped[e] = 1;
    return blocks.reduce((sum, block) => sum + block.lost(dropped).lost, 0);
  });
}

/**
 * Super experts (Su et al. 2025, arXiv 2507.23279): few experts with extreme outputs for few tokens, which attention depends
 * on in later layers. They are told by what they do: without one alone the output changes over a hundred times more than
 * without the median of those that are used. In ascending order; where there are more than may stay, those that are lost
 * most without.
 *
 * @param lost `[experts]`, see `lostWithoutEach`
 */
export function superExperts(lost: Float64Array, size: Omit<KeptSize, "fixed">): number[] {
  const used = lost.filter((value) => value > 0).sort();
  const median = used[Math.floor((used.length - 1) / 2)] ?? 0;
  const room = new Array<number>(size.routerGroups).fill(size.kept / size.routerGroups);
  const found = [...lost.keys()].filter((e) => lost[e]! > FACTOR * median);
  found.sort((a, b) => lost[b]! - lost[a]! || a - b);
  const whole = { ...size, fixed: new Set<number>() };
  return found.filter((e) => room[routerGroupOf(e, whole)]!-- > 0).sort((a, b) => a - b);
}
