import { type Correlation, pearson } from "./correlation.js";

/** How well a cheap measure foretells the order of expensive scores. */
export interface RankQuality {
  readonly n: number;
  readonly pearson: Correlation | undefined;
  /** Spearman's rho and Kendall's tau-b; undefined where a side has no order. */
  readonly spearman: number | undefined;
  readonly kendall: number | undefined;
  /** Index of the one that the measure puts first; the lower of equal ones. */
  readonly chosen: number;
  /** By how much it scores below the best: what is lost by trusting the measure. */
  readonly regret: number;
}

/**
 * @param predicted higher is better.
 * @param scores of the same candidates.
 * Throws RangeError for lists of different lengths, or empty ones.
 */
export function rankQuality(predicted: readonly number[], scores: readonly number[]): RankQuality {
  if (scores.length === 0) throw new RangeError("there is nothing to rank");
  const n = scores.length;
  const chosen = predicted.reduce((best, value, i) => (value > predicted[best]! ? i : best), 0);
  return {
    n,
    pearson: pearson(predicted, scores),
    spearman: spearman(predicted, scores),
    kendall: kendall(predicted, scores),
    chosen,
    regret: Math.max(...scores) - scores[chosen]!,
  };
}

/** Pearson's r of the ranks, equal values having the mean of their places. */
export function spearman(first: readonly number[], second: readonly number[]): number | undefined {
  return pearson(ranks(first), ranks(second))?.r;
}

/** Kendall's tau-b: concordant pairs less discordant ones, over √(pairs that differ on each side). */
export function kendall(first: readonly number[], second: readonly number[]): number | undefined {
  if (first.length !== second.length) throw new RangeError(`${first.length} and ${second.length} values are no pairs`);
  let [balance, firstDiffer, secondDiffer] = [0, 0, 0];
  for (let i = 0; i < first.length; i++) {
    for (let j = 0; j < i; j++) {
      const [a, b] = [Math.sign(first[i]! - first[j]!), Math.sign(second[i]! - second[j]!)];
      balance += a * b;
      firstDiffer += Math.abs(a);
      secondDiffer += Math.abs(b);
    }
  }
  const pairs = Math.sqrt(firstDiffer * secondDiffer);
  return pairs === 0 ? undefined : balance / pairs;
}

/** Ranks from 1; equal values share the mean of their places. */
export function ranks(values: readonly number[]): number[] {
  const sorted = Float64Array.from(values).sort();
  const places = new Map<number, { first: number; last: number }>();
  sorted.forEach((value, place) => {
    places.set(value, { first: places.get(value)?.first ?? place, last: place });
  });
  return values.map((value) => {
    const { first, last } = places.get(value)!;
    return (first + last) / 2 + 1;
  });
}
