import type { Routing } from "../engine/backend.js";

/** Experts of a token. */
const CHOSEN = 2;

/**
 * SparseMixer (Liu et al. 2024, as Phi-3.5-MoE uses it): the two experts of each token with the largest logits. The weight
 * of each is its probability among the experts that come near it: those whose distance to its logit is at most 2 * jitter
 * of the larger magnitude. The first is left out when the second is weighed. In ascending index order.
 *
 * @param logits `[tokens, experts]`
 */
export function mixSparsely(
  logits: Float32Array,
  experts: number,
  jitter: number,
): Pick<Routing, "selected" | "weights"> {
  const tokens = logits.length / experts;
  const selected = new Int32Array(tokens * CHOSEN);
  const weights = new Float32Array(tokens * CHOSEN);
  for (let token = 0; token < tokens; token++) {
    const own = logits.subarray(token * experts, (token + 1) * experts);
    const first = largest(own, undefined);
    const second = largest(own, first);
    const chosen = [
      { expert: first, weight: probability(own, first, undefined, jitter) },
      { expert: second, weight: probability(own, second, first, jitter) },
    ].sort((a, b) => a.expert - b.expert);
    for (const [k, { expert, weight }] of chosen.entries()) {
      selected[token * CHOSEN + k] = expert;
      weights[token * CHOSEN + k] = weight;
    }
  }
  return { selected, weights };
}

/** Index of the largest logit, `excluded` left out; the lowest of equal ones. */
function largest(logits: Float32Array, excluded: number | undefined): number {
  let best = excluded === 0 ? 1 : 0;
  for (let e = best + 1; e < logits.length; e++) if (e !== excluded && logits[e]! > logits[best]!) best = e;
  return best;
}

/** Softmax of `expert`, which has the largest logit but for `excluded`, over those near it. */
function probability(logits: Float32Array, expert: number, excluded: number | undefined, jitter: number): number {
  const top = logits[expert]!;
  let sum = 0;
  for (const [e, logit] of logits.entries()) {
    const far = (top - logit) / Math.max(Math.abs(logit), top) > 2 * jitter;
    if (e !== excluded && !far) sum += Math.exp(logit - top);
  }
  return 1 / sum;
}
