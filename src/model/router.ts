import type { Backend, Matrix, Routing } from "../engine/backend.js";
import type { RouterDescription } from "./description.js";
import { sigmoid } from "./sigmoid.js";
import { mixSparsely } from "./sparse-mixer.js";

/** The tensors of a router, ready to run. The biases are `[experts]`. */
export interface RouterWeights {
  /** `[experts, hidden]` */
  readonly weight: Matrix;
  readonly bias: Float32Array | undefined;
  readonly selectionBias: Float32Array | undefined;
  readonly expertScale?: Float32Array | undefined;
}

export interface RouterOutput {
  /** `[tokens, experts]`, before softmax or sigmoid, with the router's bias and without the selection bias. */
  readonly logits: Float32Array;
  /** `[tokens, experts]`: the scores of all experts, before a choice is made. */
  readonly scores: Float32Array;
  readonly routing: Routing;
}

/** Runs a router on x `[tokens, hidden]`. */
export function route(
  backend: Backend,
  x: Float32Array,
  weights: RouterWeights,
  router: RouterDescription,
): RouterOutput {
  return routeLogits(backend, backend.linear(x, weights.weight, weights.bias), weights.weight.rows, weights, router);
}

/** What a router makes of logits `[tokens, experts]`, which have its bias already. */
export function routeLogits(
  backend: Backend,
  logits: Float32Array,
  experts: number,
  { selectionBias, expertScale }: Pick<RouterWeights, "selectionBias" | "expertScale">,
  router: RouterDescription,
): RouterOutput {
  const scores = router.scores === "softmax" ? backend.softmax(logits, experts) : logits.map(sigmoid);
  const routing = chooseExperts(backend, logits, scores, selectionBias, experts, router);
  if (expertScale !== undefined) {
    const { selected, weights } = routing;
    for (let pair = 0; pair < weights.length; pair++) weights[pair]! *= expertScale[selected[pair]!]!;
  }
  return { logits, scores, routing };
}

/**
 * The experts of each token, in ascending index order, and their weights. Where experts or groups are equal, the lower
 * index is chosen. logits and scores `[tokens, experts]`, selectionBias `[experts]`.
 */
export function chooseExperts(
  backend: Backend,
  logits: Float32Array,
  scores: Float32Array,
  selectionBias: Float32Array | undefined,
  experts: number,
  router: RouterDescription,
): Routing {
  const { topK, sparseMixer, chooseBy, scalesInputs } = router;
  const { step, least } = expertCounts(router);
  if (experts < least || experts % step !== 0) throw new RangeError(`${experts} experts do not fit the router`);
  const chosen =
    sparseMixer === undefined
      ? backend.chooseExperts(chooseBy === "logits" ? logits : scores, scores, selectionBias, experts, router)
      : mixSparsely(logits, experts, sparseMixer.jitter);
  return { tokens: scores.length / experts, topK, ...chosen, ...(scalesInputs === true && { scalesInputs }) };
}

/** Names of a router's tensors, all of which have something of every expert. */
export function routerNames({ weight, bias, selectionBias, expertScale }: RouterDescription): string[] {
  return [weight, bias, selectionBias, expertScale].filter((name) => name !== undefined);
}

/** The tensors of a router that say which experts are chosen. */
export type RouterPart = "router" | "routerBias" | "selectionBias";

/** What of a router a tensor is; undefined: something else. */
export function routerPart({ weight, bias, selectionBias }: RouterDescription, name: string): RouterPart | undefined {
  if (name === weight) return "router";
  if (name === bias) return "routerBias";
  return name === selectionBias ? "selectionBias" : undefined;
}

/**
 * Numbers of experts that a router can work with: multiples of `step` from `least` on. Groups have equally many, enough
 * for their score, and those that a token uses have enough for its top k.
 */
export function expertCounts({ topK, groups }: Pick<RouterDescription, "topK" | "groups">): {
  readonly step: number;
  readonly least: number;
} {
  if (groups === undefined || groups.count === 1) return { step: 1, least: topK };
  const each = Math.max(groups.score === "sum-of-two" ? 2 : 1, Math.ceil(topK / groups.kept));
  return { step: groups.count, least: groups.count * each };
}
