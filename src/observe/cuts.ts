import { apportion, type MixShare } from "../calibration/mix.js";

/** A range `[begin, end)` of a domain's sequences whose sums are kept apart. */
export interface Unit {
  readonly domain: string;
  readonly begin: number;
  readonly end: number;
}

/** Where a domain's sums can be cut: numbers of sequences in ascending order; the last is how many there are. */
export type Cuts = ReadonlyMap<string, readonly number[]>;

/** Sequences that each domain gives to a mix of so many. */
export function sequencesOf(mix: readonly MixShare[], sequences: number): Map<string, number> {
  const counts = apportion(
    mix.map(({ ratio }) => ratio),
    sequences,
  );
  return new Map(mix.map(({ name }, i) => [name, counts[i]!]));
}

/** Cuts at which every one of the mixes is a beginning of each domain. */
export function planCuts(mixes: readonly (readonly MixShare[])[], sequences: number): Cuts {
  const cuts = new Map<string, Set<number>>();
  for (const mix of mixes) {
    for (const [domain, count] of sequencesOf(mix, sequences)) {
      const list = cuts.get(domain) ?? new Set();
      if (count > 0) cuts.set(domain, list.add(count));
    }
  }
  return new Map([...cuts].map(([domain, list]) => [domain, [...list].sort((a, b) => a - b)]));
}

/** Cuts of a domain that holds fewer sequences than were planned. */
export function limitCuts(cuts: readonly number[], available: number): number[] {
  return [...new Set(cuts.map((cut) => Math.min(cut, available)))];
}

/** The ranges between the cuts of one domain. */
export function unitsOf(domain: string, ends: readonly number[]): Unit[] {
  return ends.map((end, i) => ({ domain, begin: ends[i - 1] ?? 0, end }));
}

/** Cuts at every tenth of the sequences in every domain, for mixes that nobody has named yet. */
export function tenths(domains: readonly string[], sequences: number): Cuts {
  const cuts = Array.from({ length: 10 }, (_, i) => Math.max(1, Math.round((sequences * (i + 1)) / 10)));
  return new Map(domains.map((domain) => [domain, [...new Set(cuts)]]));
}
