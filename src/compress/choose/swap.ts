import type { Share } from "../steps/step-error.js";
import { droppedOf, type KeptSize, routerGroupOf } from "./kept-sets.js";

/** Experts of either side that are considered. */
const SHORTLIST = 16;

/** Most passes over all pairs. */
const PASSES = 4;

/** Tells what is lost without some experts. */
export interface LossyBlock {
  /** @param dropped `[experts]`: 1 for those that are not there */
  lost(dropped: Uint8Array): Share;
}

export interface Swapped {
  readonly kept: readonly number[];
  readonly swaps: number;
}

/**
 * Exchanges experts that stay for others as long as the block loses less on its tokens (first improvement). Considered are
 * the 16 without which least is lost and the 16 with which most is won, each alone, in that order; a router's groups keep
 * their numbers.
 *
 * @param pause called between measurements; may throw to stop
 */
export async function swapExperts(
  block: LossyBlock,
  start: readonly number[],
  size: KeptSize,
  pause: () => Promise<void>,
): Promise<Swapped> {
  const dropped = droppedOf(start, size.experts);
  const lostAfter = async (...changed: number[]) => {
    for (const e of changed) dropped[e]! ^= 1;
    const { lost } = block.lost(dropped);
    for (const e of changed) dropped[e]! ^= 1;
    await pause();
    return lost;
  };
  const shortlist = async (experts: number[]) => {
    const lost = new Map<number, number>();
    for (const e of experts) lost.set(e, await lostAfter(e));
    return experts.sort((a, b) => lost.get(a)! - lost.get(b)! || a - b).slice(0, SHORTLIST);
  };
  const all = [...dropped.keys()];
  const going = await shortlist(all.filter((e) => dropped[e] === 0 && !size.fixed.has(e)));
  const coming = await shortlist(all.filter((e) => dropped[e] === 1));
  let { lost } = block.lost(dropped);
  let swaps = 0;
  for (let pass = 0, improved = true; pass < PASSES && improved; pass++) {
    improved = false;
    for (const i of going.keys()) {
      for (const j of coming.keys()) {
        const [gone, other] = [going[i]!, coming[j]!];
        if (routerGroupOf(gone, size) !== routerGroupOf(other, size)) continue;
        const now = await lostAfter(gone, other);
        if (!(now < lost)) continue;
        lost = now;
        dropped[gone] = 1;
        dropped[other] = 0;
        going[i] = other;
        coming[j] = gone;
        swaps++;
        improved = true;
      }
    }
  }
  return { kept: all.filter((e) => dropped[e] === 0), swaps };
}
