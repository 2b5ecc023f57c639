import type { Backend } from "../engine/backend.js";
import type { MoeBlock } from "../model/moe.js";
import type { CountedTokens } from "./counted-tokens.js";
import { type Settings, wantsMeanOutputs } from "./settings.js";

/** What the contribution of a routed pair is multiplied by, in each of its readings (`Settings.gate`). */
export const GATES = ["combined", "scores", "scores-squared"] as const satisfies readonly Settings["gate"][];

/** The costly sums, which are left out where no method asks for them. */
export interface WantedStatistics {
  readonly gateGram: boolean;
  /** Activations of all experts for all tokens, each times the router's score or not. */
  readonly activations: "gated" | "plain" | "none";
  readonly tokenCosines: boolean;
  readonly coactivation: boolean;
}

/** The statistics that a method needs. */
export function wantedBy(settings: Settings): WantedStatistics {
  return {
    gateGram: settings.gateSimilarity !== "none",
    activations: !wantsMeanOutputs(settings) ? "none" : settings.gatedOutputs ? "gated" : "plain",
    tokenCosines: settings.outputSimilarity === "token-cosine",
    coactivation: false,
  };
}

/** Sums over tokens of one layer. Every one adds up over batches, ranges of text and domains. */
export interface StatisticSums {
  /** Tokens seen, routed or not. */
  tokens: number;
  /** `[experts]` each: */
  /** tokens routed to an expert, */
  readonly routed: Float64Array;
  /** the weight with which it is combined, of routed tokens, */
  readonly weight: Float64Array;
  /** its score, of all tokens, */
  readonly mass: Float64Array;
  /** ||E(x)|| and its square, of routed tokens, */
  readonly norm: Float64Array;
  readonly normSquared: Float64Array;
  /** gate x ||E(x)|| and its square, of routed tokens, for each reading of the gate. */
  readonly contribution: Readonly<Record<Settings["gate"], Float64Array>>;
  readonly energy: Readonly<Record<Settings["gate"], Float64Array>>;
  /** `[experts, experts]`: logits of two experts multiplied. */
  readonly gateGram: Float64Array | undefined;
  /** `[experts, width]` activations times factors, and the factors `[experts]`. */
  readonly activations: Float64Array | undefined;
  readonly factors: Float64Array;
  /** `[experts, hidden]`: what the down projections make of the activations, where it is known already. */
  readonly outputs?: Float64Array | undefined;
  /** `[experts, experts]`: cosine of two experts' outputs. */
  readonly tokenCosines: Float64Array | undefined;
  /** `[experts, experts]`: tokens that use both experts, and the product of their weight x ||E(x)||. */
  readonly together: Float64Array | undefined;
  readonly togetherContribution: Float64Array | undefined;
}

export function emptyStatistics(experts: number, width: number, wanted: WantedStatistics): StatisticSums {
  const each = () => new Float64Array(experts);
  const pairs = (want: boolean) => (want ? new Float64Array(experts * experts) : undefined);
  const gates = () => ({ combined: each(), scores: each(), "scores-squared": each() });
  return {
    tokens: 0,
    routed: each(),
    weight: each(),
    mass: each(),
    norm: each(),
    normSquared: each(),
    contribution: gates(),
    energy: gates(),
    gateGram: pairs(wanted.gateGram),
    activations: wanted.activations === "none" ? undefined : new Float64Array(experts * width),
    factors: each(),
    tokenCosines: pairs(wanted.tokenCosines),
    together: pairs(wanted.coactivation),
    togetherContribution: pairs(wanted.coactivation),
  };
}

/** All arrays of some statistics by name, those that are there. */
export function statisticArrays(sums: StatisticSums): Map<string, Float64Array> {
  const { tokens: _, contribution, energy, ...plain } = sums;
  const named: [string, Float64Array | undefined][] = Object.entries(plain);
  for (const gate of GATES) named.push([`contribution.${gate}`, contribution[gate]], [`energy.${gate}`, energy[gate]]);
  return new Map(named.filter((entry): entry is [string, Float64Array] => entry[1] !== undefined));
}

/** Adds factor times other sums, which have the same arrays, to sums. */
export function addStatistics(sums: StatisticSums, other: StatisticSums, factor: number): void {
  sums.tokens += factor * other.tokens;
  const others = statisticArrays(other);
  for (const [name, array] of statisticArrays(sums)) {
    const terms = others.get(name)!;
    for (let i = 0; i < array.length; i++) array[i]! += factor * terms[i]!;
  }
}

/** Adds a batch of tokens. `gated`: activations are multiplied by the router's scores. */
export function addTokens(
  sums: StatisticSums,
  backend: Backend,
  block: MoeBlock,
  tokens: CountedTokens,
  gated: boolean,
): void {
  const { x, scores, routing } = tokens;
  const experts = block.experts.count;
  addRouting(sums, backend, tokens, experts);
  if (sums.activations) {
    backend.addGatedActivations(sums.activations, x, block.experts, gated ? scores : undefined);
    for (let e = 0; e < experts; e++) if (!gated) sums.factors[e]! += routing.tokens;
    if (gated) for (const [i, score] of scores.entries()) sums.factors[i % experts]! += score;
  }
  if (sums.tokenCosines) backend.addOutputCosines(sums.tokenCosines, x, block.experts);
}

/** Adds what the router did with a batch of tokens, and what the chosen experts made of them. */
export function addRouting(
  sums: StatisticSums,
  backend: Backend,
  tokens: Omit<CountedTokens, "x">,
  experts: number,
): void {
  const { logits, scores, routing } = tokens;
  sums.tokens += routing.tokens;
  addRouted(sums, tokens, experts);
  for (let i = 0; i < scores.length; ) for (let e = 0; e < experts; e++) sums.mass[e]! += scores[i++]!;
  if (sums.gateGram) backend.addTransposedProduct(sums.gateGram, logits, logits, experts, experts);
}

function addRouted(sums: StatisticSums, { routing, norms, scores }: Omit<CountedTokens, "x">, experts: number): void {
  const { topK, selected, weights, scalesInputs } = routing;
  const contributions = new Float64Array(topK);
  const gates = GATES.map((gate) => ({ gate, contribution: sums.contribution[gate], energy: sums.energy[gate] }));
  for (let token = 0; token < routing.tokens; token++) {
    for (let k = 0; k < topK; k++) {
      const pair = token * topK + k;
      const expert = selected[pair]!;
      const norm = norms[pair]!;
      const score = scores[token * experts + expert]!;
      // A weight that multiplies the expert's input is in the norm of its output already.
      const weight = scalesInputs ? 1 : weights[pair]!;
      sums.routed[expert]! += 1;
      sums.weight[expert]! += weights[pair]!;
      sums.norm[expert]! += norm;
      sums.normSquared[expert]! += norm ** 2;
      for (const { gate, contribution, energy } of gates) {
        const reading = gate === "combined" ? weight : gate === "scores" ? score : score * score;
        contribution[expert]! += reading * norm;
        energy[expert]! += (reading * norm) ** 2;
      }
      contributions[k] = weight * norm;
    }
    if (sums.together) addTogether(sums, selected.subarray(token * topK, (token + 1) * topK), contributions, experts);
  }
}

function addTogether(
  { together, togetherContribution }: StatisticSums,
  selected: Int32Array,
  contributions: Float64Array,
  experts: number,
): void {
  if (together === undefined || togetherContribution === undefined) return;
  for (const [i, a] of selected.entries()) {
    for (const [j, b] of selected.entries()) {
      together[a * experts + b]! += 1;
      togetherContribution[a * experts + b]! += contributions[i]! * contributions[j]!;
    }
  }
}
