import { Random as Source } from "../../src/random.js";

/** Deterministic random source with a name as its seed: the same seed gives the same world on every machine. */
export class Random extends Source {
  constructor(seed: string) {
    super(hash(seed));
  }

  /** An integer in [low, high], both ends included. */
  integer(low: number, high: number): number {
    return low + Math.floor(this.next() * (high - low + 1));
  }

  pick<T>(items: readonly T[]): T {
    return items[this.integer(0, items.length - 1)]!;
  }

  chance(probability: number): boolean {
    return this.next() < probability;
  }

  shuffle<T>(items: readonly T[]): T[] {
    const shuffled = [...items];
    for (let last = shuffled.length - 1; last > 0; last--) {
      const other = this.integer(0, last);
      [shuffled[last], shuffled[other]] = [shuffled[other]!, shuffled[last]!];
    }
    return shuffled;
  }

  /** `count` items from different places of the list, in random order. */
  sample<T>(items: readonly T[], count: number): T[] {
    return this.shuffle(items).slice(0, count);
  }
}

/** FNV-1a with a final mix: a stable hash that also decides which questions are held out. */
export function hash(text: string): number {
  let value = 0x811c9dc5;
  for (let index = 0; index < text.length; index++) value = Math.imul(value ^ text.charCodeAt(index), 0x01000193);
  value ^= value >>> 15;
  value = Math.imul(value, 0x2c1b3c6d);
  return (value ^ (value >>> 13)) >>> 0;
}

/** True for the quarter of all keys that training text never shows in the tested form. */
export function isHeldOut(key: string): boolean {
  return hash(`held-out:${key}`) % 4 === 0;
}

/** The words of a text, however it is broken into lines. */
export function words(text: string): string[] {
  return text.trim().split(/\s+/);
}

/** The pairs of a text such as `hot cold, big small`. */
export function pairs(text: string): [string, string][] {
  return text.split(",").map((pair) => words(pair) as [string, string]);
}
