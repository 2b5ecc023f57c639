import { SALIENCIES, type Settings } from "./settings.js";
import type { StatisticSums } from "./statistics.js";

/** The sums that saliencies are made from. */
export type SaliencySums = Pick<
  StatisticSums,
  "tokens" | "routed" | "weight" | "mass" | "norm" | "normSquared" | "contribution" | "energy"
>;

/** Saliency of every expert from sums over tokens. An expert without tokens has 0. */
export function saliencyOf(
  { tokens, routed, weight, mass, norm, normSquared, contribution, energy }: SaliencySums,
  { saliency, gate }: Pick<Settings, "saliency" | "gate">,
): Float64Array {
  switch (saliency) {
    case "reap":
      return meanOf(contribution[gate], routed);
    case "frequency":
      return routed.map((count) => (tokens > 0 ? count / tokens : 0));
    case "sum":
      return contribution[gate].slice();
    case "energy":
      return energy[gate].slice();
    case "mass":
      return weight.slice();
    case "score-mass":
      return mass.slice();
    case "mean-norm":
      return meanOf(norm, routed);
    case "mean-squared-norm":
      return meanOf(normSquared, routed);
    case "sum-norm":
      return norm.slice();
    case "sum-squared-norm":
      return normSquared.slice();
  }
}

/** Every saliency by name, the contributions with the given gate; "reap-scores-squared" is the official code's. */
export function saliencies(sums: SaliencySums, gate: Settings["gate"]): Map<string, Float64Array> {
  const all = new Map<string, Float64Array>(
    SALIENCIES.map((saliency) => [saliency, saliencyOf(sums, { saliency, gate })]),
  );
  return all.set("reap-scores-squared", saliencyOf(sums, { saliency: "reap", gate: "scores-squared" }));
}

function meanOf(sums: Float64Array, routed: Float64Array): Float64Array {
  return sums.map((value, e) => (routed[e]! > 0 ? value / routed[e]! : 0));
}

/** Experts by decreasing saliency; equal ones in index order. */
export function rank(saliency: Float64Array): number[] {
  return Array.from(saliency.keys()).sort((a, b) => saliency[b]! - saliency[a]! || a - b);
}

/** Saliencies that rank some experts before all others, and within both as before. */
export function rankFirst(saliency: Float64Array, first: readonly number[]): Float64Array {
  if (first.length === 0) return saliency;
  const before = new Set(first);
  const order = rank(saliency);
  const ranking = new Float64Array(saliency.length);
  for (const [place, expert] of [
    ...order.filter((e) => before.has(e)),
    ...order.filter((e) => !before.has(e)),
  ].entries()) {
    ranking[expert] = saliency.length - place;
  }
  return ranking;
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
