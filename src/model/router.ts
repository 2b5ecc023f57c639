import type { Backend, Matrix, Routing } from "../engine/backend.js";
import type { ExpertGroups, RouterDescription } from "./description.js";
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
  const routing = chooseExperts(logits, scores, selectionBias, experts, router);
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
  logits: Float32Array,
  scores: Float32Array,
  selectionBias: Float32Array | undefined,
  experts: number,
  router: RouterDescription,
): Routing {
  const { topK, groups, sparseMixer } = router;
  const { step, least } = expertCounts(router);
  if (experts < least || experts % step !== 0) throw new RangeError(`${experts} experts do not fit the router`);
  const tokens = scores.length / experts;
  const selected = new Int32Array(tokens * topK);
  const weights = new Float32Array(tokens * topK);
  // Arrays of one token, used again for each: there are millions of tokens.
  /** What it chooses by. */
  const choice = new Float32Array(experts);
  const chosen = new Int32Array(topK);
  for (let t = 0; t < tokens; t++) {
    if (sparseMixer !== undefined) {
      const mixed = mixSparsely(logits.subarray(t * experts, (t + 1) * experts), sparseMixer.jitter);
      selected.set(mixed.selected, t * topK);
      weights.set(mixed.weights, t * topK);
      continue;
    }
    choice.set((router.chooseBy === "logits" ? logits : scores).subarray(t * experts, (t + 1) * experts));
    if (selectionBias !== undefined) for (let e = 0; e < experts; e++) choice[e]! += selectionBias[e]!;
    if (groups !== undefined && groups.count > 1) leaveOtherGroups(choice, groups);
    best(choice, chosen).sort();
    selected.set(chosen, t * topK);
    combineWeights(scores, t * experts, chosen, router, weights, t * topK);
  }
  return { tokens, topK, selected, weights, ...(router.scalesInputs === true && { scalesInputs: true }) };
}

/** Writes the weights of a token's experts to `weights`: their scores, normalised and scaled as the model does it. */
function combineWeights(
  scores: Float32Array,
  first: number,
  chosen: Int32Array,
  { normalise, epsilon = 0, floor = 0, scale = 1 }: RouterDescription,
  weights: Float32Array,
  to: number,
): void {
  let sum = epsilon;
  for (let k = 0; k < chosen.length; k++) sum += scores[first + chosen[k]!]!;
  const divisor = normalise ? Math.max(sum, floor) : 1;
  for (let k = 0; k < chosen.length; k++) weights[to + k] = (scores[first + chosen[k]!]! / divisor) * scale;
}

/** Makes the experts of all groups but the best unelectable: -Infinity. */
function leaveOtherGroups(choice: Float32Array, { count, kept, score }: ExpertGroups): void {
  const size = choice.length / count;
  const ranks = Float64Array.from({ length: count }, (_, group) => {
    const members = choice.subarray(group * size, (group + 1) * size);
    return best(members, new Int32Array(score === "max" ? 1 : 2)).reduce((sum, member) => sum + members[member]!, 0);
  });
  const stay = best(ranks, new Int32Array(kept));
  for (let group = 0; group < count; group++) {
    if (!stay.includes(group)) choice.fill(-Infinity, group * size, (group + 1) * size);
  }
}

/** Fills `indices` with those of the largest values, the largest first; of equal ones the lower index. */
function best(values: Float32Array | Float64Array, indices: Int32Array): Int32Array {
  const count = indices.length;
  // Insertion into the best so far keeps equal values in index order.
  let filled = 0;
  for (let i = 0; i < values.length; i++) {
    const value = values[i]!;
    if (filled === count && !(value > values[indices[count - 1]!]!)) continue;
    let place = filled < count ? filled++ : count - 1;
    for (; place > 0 && value > values[indices[place - 1]!]!; place--) indices[place] = indices[place - 1]!;
    indices[place] = i;
  }
  return indices;
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
