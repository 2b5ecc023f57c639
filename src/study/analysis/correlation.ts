import { studentTwoSided } from "../../evaluate/compare/distributions.js";
import { mean, type Point } from "./points.js";

export interface Correlation {
  /** Pearson's. */
  readonly r: number;
  readonly n: number;
  /** Two-sided, by Student's t, for independent pairs. Those of a study share their domains, so it is a hint. */
  readonly p: number;
}

/** How domains go with scores over a method's mixes. */
export interface MixCorrelations {
  /** By domain. Shares add up to one, so that those of different domains depend on each other. */
  readonly shares: Readonly<
    Record<string, { readonly mc: Correlation | undefined; readonly gen: Correlation | undefined }>
  >;
  readonly mcGen: Correlation | undefined;
}

/**
 * Undefined where there are fewer than three pairs or all values of a side are equal.
 * Throws RangeError for lists of different lengths.
 */
export function pearson(first: readonly number[], second: readonly number[]): Correlation | undefined {
  if (first.length !== second.length) throw new RangeError(`${first.length} and ${second.length} values are no pairs`);
  const n = first.length;
  if (n < 3) return undefined;
  const [a, b] = [centred(first), centred(second)];
  const product = (left: readonly number[], right: readonly number[]) =>
    left.reduce((sum, x, i) => sum + x * right[i]!, 0);
  const spread = Math.sqrt(product(a, a) * product(b, b));
  if (spread === 0) return undefined;
  const r = Math.max(-1, Math.min(1, product(a, b) / spread));
  return { r, n, p: Math.abs(r) === 1 ? 0 : studentTwoSided(r * Math.sqrt((n - 2) / (1 - r * r)), n - 2) };
}

/** Shares are taken as they were stated; a domain that a mix does not name has none. */
export function mixCorrelations(points: readonly Pick<Point, "mc" | "gen" | "mix">[]): MixCorrelations {
  const domains = [...new Set(points.flatMap(({ mix }) => Object.keys(mix)))];
  const [mc, gen] = [points.map((point) => point.mc), points.map((point) => point.gen)];
  const shares = domains.map((domain) => {
    const share = points.map(({ mix }) => mix[domain] ?? 0);
    return [domain, { mc: pearson(share, mc), gen: pearson(share, gen) }];
  });
  return { shares: Object.fromEntries(shares), mcGen: pearson(mc, gen) };
}

/** Differences to the mean, exactly zero where all values are equal. */
function centred(values: readonly number[]): number[] {
  if (values.every((value) => value === values[0])) return values.map(() => 0);
  const middle = mean(values);
  return values.map((value) => value - middle);
}
