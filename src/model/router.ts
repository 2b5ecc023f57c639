import type { Backend, Matrix, Routing } from "../engine/backend.js";
import type { RouterDescription } from "./description.js";

export interface RouterOutput {
  /** `[tokens, experts]`, before the softmax. */
  readonly logits: Float32Array;
  /** `[tokens, experts]`: the scores of all experts, before a choice is made. */
  readonly scores: Float32Array;
  readonly routing: Routing;
}

/** Runs a router on x `[tokens, hidden]`. */
export function route(backend: Backend, x: Float32Array, weight: Matrix, router: RouterDescription): RouterOutput {
  const logits = backend.linear(x, weight);
  const scores = backend.softmax(logits, weight.rows);
  return { logits, scores, routing: chooseExperts(scores, weight.rows, router) };
}

/**
 * The top-k experts of each token, in ascending index order, and their weights: the scores, divided by their sum where
 * the model does so. Equal scores: the lower index is chosen.
 */
export function chooseExperts(scores: Float32Array, experts: number, router: RouterDescription): Routing {
  const { topK } = router;
  const tokens = scores.length / experts;
  const selected = new Int32Array(tokens * topK);
  const weights = new Float32Array(tokens * topK);
  const best = new Int32Array(topK);
  for (let t = 0; t < tokens; t++) {
    const row = t * experts;
    // Insertion into the k best so far keeps equal scores in index order.
    let filled = 0;
    for (let e = 0; e < experts; e++) {
      const score = scores[row + e]!;
      if (filled === topK && !(score > scores[row + best[topK - 1]!]!)) continue;
      let place = filled < topK ? filled++ : topK - 1;
      for (; place > 0 && score > scores[row + best[place - 1]!]!; place--) best[place] = best[place - 1]!;
      best[place] = e;
    }
    const chosen = best.slice().sort();
    let sum = 0;
    for (const expert of chosen) sum += scores[row + expert]!;
    for (const [k, expert] of chosen.entries()) {
      selected[t * topK + k] = expert;
      weights[t * topK + k] = router.normalise ? scores[row + expert]! / sum : scores[row + expert]!;
    }
  }
  return { tokens, topK, selected, weights };
}
