import type { Settings } from "./settings.js";

/** Sums over routed pairs (token, expert), one value for each expert. They add up over batches and domains. */
export interface RoutedSums {
  /** Tokens seen, routed or not. */
  tokens: number;
  /** Tokens routed to each expert. */
  readonly routed: Float64Array;
  /** Sum of gate x ||E(x)||. */
  readonly contribution: Float64Array;
  /** Sum of (gate x ||E(x)||)². */
  readonly energy: Float64Array;
}

export function emptySums(experts: number): RoutedSums {
  return {
    tokens: 0,
    routed: new Float64Array(experts),
    contribution: new Float64Array(experts),
    energy: new Float64Array(experts),
  };
}

/** Saliency of every expert from sums. An expert without tokens has 0. */
export function saliencyOf(sums: RoutedSums, kind: Settings["saliency"]): Float64Array {
  const { routed, contribution, energy, tokens } = sums;
  switch (kind) {
    case "reap":
      return contribution.map((value, e) => (routed[e]! > 0 ? value / routed[e]! : 0));
    case "frequency":
      return routed.map((count) => (tokens > 0 ? count / tokens : 0));
    case "sum":
      return contribution.slice();
    case "energy":
      return energy.slice();
  }
}

/** Experts by decreasing saliency; equal ones in index order. */
export function rank(saliency: Float64Array): number[] {
  return Array.from(saliency.keys()).sort((a, b) => saliency[b]! - saliency[a]! || a - b);
}

/**
 * The official code's treatment of experts that no token used: they get the smallest saliency above zero, at most 0.5,
 * so that they can take part in a weighted average.
 */
export function replaceZeros(saliency: Float64Array): Float64Array {
  const positive = saliency.filter((value) => value > 0);
  if (positive.length === 0) return saliency.slice();
  const least = positive.reduce((a, b) => Math.min(a, b), 0.5);
  return saliency.map((value) => (value === 0 ? least : value));
}
