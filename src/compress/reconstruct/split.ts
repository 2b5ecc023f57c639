import type { TokenBatch } from "../../model/layer.js";
import { Random } from "../../random.js";
import type { HeldOutRows } from "./residuals.js";

/** One in so many sequences of a domain is held out. */
const HELD_OUT = 8;

/** The calibration tokens that a refit looks at, in whole sequences, and the row of each among the residuals. */
export interface TokenSplit {
  /** All rows. */
  readonly rows: number;
  /** Rows `[0, fitted)` are fitted to, the rest is held out. */
  readonly fitted: number;
  readonly heldOut: readonly HeldOutRows[];
  /** Of each batch `[tokens]`: a token's row, -1 where it takes no part. */
  readonly rowOf: readonly Int32Array[];
}

/** The held-out tokens of a split alone. */
export function heldOutOnly({ rows, fitted, heldOut, rowOf }: TokenSplit): TokenSplit {
  return {
    ...{ rows: rows - fitted, fitted: 0 },
    heldOut: heldOut.map(({ domain, begin, end }) => ({ domain, begin: begin - fitted, end: end - fitted })),
    rowOf: rowOf.map((own) => own.map((row) => (row < fitted ? -1 : row - fitted))),
  };
}

interface Sequence {
  readonly batch: number;
  /** Tokens of the batch that are not padding. */
  readonly tokens: readonly number[];
  readonly draw: number;
}

/**
 * Draws sequences for a refit, about `most` tokens of all, each domain its share, and holds one in eight of each domain out.
 * Which they are depends on the seed and the sequences' keys, so that a sequence that is held out in one layer is held
 * out in all. Without two sequences of any domain nothing can be held out.
 *
 * @param added batches that come after the others, all of which are fitted to
 */
export function splitTokens(
  batches: readonly TokenBatch[],
  most: number,
  seed: number,
  added: readonly TokenBatch[] = [],
): TokenSplit {
  const domains = byDomain(batches, seed);
  const all = [...domains.values()].flat().reduce((sum, { tokens }) => sum + tokens.length, 0);
  const rowOf = [...batches, ...added].map(({ ids }) => new Int32Array(ids.length).fill(-1));
  let rows = 0;
  const put = (sequences: readonly Sequence[]) => {
    for (const { batch, tokens } of sequences) for (const token of tokens) rowOf[batch]![token] = rows++;
  };
  const parts = [...domains].map(([domain, sequences]) => {
    const drawn = draw(sequences, Math.min(1, most / all));
    const heldOut = drawn.length < 2 ? 0 : Math.max(1, Math.round(drawn.length / HELD_OUT));
    return { domain, fitted: drawn.slice(heldOut), heldOut: drawn.slice(0, heldOut) };
  });
  for (const { fitted } of parts) put(fitted);
  for (const sequences of byDomain(added, seed, batches.length).values()) put(sequences);
  const fitted = rows;
  const heldOut = parts.map(({ domain, heldOut }) => {
    const begin = rows;
    put(heldOut);
    return { domain, begin, end: rows };
  });
  return { rows, fitted, heldOut: heldOut.filter(({ begin, end }) => end > begin), rowOf };
}

/** The sequences of each domain in an order of their own. @param first number of the first batch */
function byDomain(batches: readonly TokenBatch[], seed: number, first = 0): Map<string, Sequence[]> {
  const found = new Map<string, Sequence[]>();
  let number = 0;
  for (const [index, { sequences, length, mask, keys, domains }] of batches.entries()) {
    for (let i = 0; i < sequences; i++) {
      const all = Array.from({ length }, (_, token) => i * length + token);
      const tokens = mask === undefined ? all : all.filter((token) => mask[token] !== 0);
      const key = keys?.[i] ?? number;
      number++;
      const domain = domains?.[i] ?? "all";
      const own = found.get(domain) ?? [];
      own.push({ batch: first + index, tokens, draw: new Random(seed + key * 65_537).next() });
      found.set(domain, own);
    }
  }
  for (const sequences of found.values()) sequences.sort((a, b) => a.draw - b.draw);
  return found;
}

/** The first sequences with about a share of all tokens, at least two. */
function draw(sequences: readonly Sequence[], share: number): readonly Sequence[] {
  const wanted = share * sequences.reduce((sum, { tokens }) => sum + tokens.length, 0);
  let [count, taken] = [0, 0];
  while (count < sequences.length && (count < 2 || taken + sequences[count]!.tokens.length / 2 <= wanted)) {
    taken += sequences[count++]!.tokens.length;
  }
  return sequences.slice(0, count);
}
