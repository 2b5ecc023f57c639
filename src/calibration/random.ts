import { createHash } from "node:crypto";

/** Uniform whole numbers below `limit` (at most 2^32). */
export type RandomBelow = (limit: number) => number;

/** xoshiro128** (Blackman & Vigna 2018), seeded with the SHA-256 of a label: the same label gives the same numbers. */
export function seededRandom(label: string): RandomBelow {
  const digest = createHash("sha256").update(label).digest();
  const state = Uint32Array.from({ length: 4 }, (_, index) => digest.readUInt32LE(index * 4));
  const rotate = (value: number, bits: number) => ((value << bits) | (value >>> (32 - bits))) >>> 0;
  return (limit) => {
    const result = Math.imul(rotate(Math.imul(state[1]!, 5) >>> 0, 7), 9) >>> 0;
    const shifted = state[1]! << 9;
    state[2]! ^= state[0]!;
    state[3]! ^= state[1]!;
    state[1]! ^= state[2]!;
    state[0]! ^= state[3]!;
    state[2]! ^= shifted;
    state[3] = rotate(state[3]!, 11);
    return Math.floor((result / 2 ** 32) * limit);
  };
}

/** Shuffles in place (Fisher & Yates). */
export function shuffle<T>(items: T[], below: RandomBelow): T[] {
  for (let last = items.length - 1; last > 0; last--) {
    const other = below(last + 1);
    [items[last], items[other]] = [items[other]!, items[last]!];
  }
  return items;
}
