import type { Backend } from "../engine/backend.js";
import type { RouterDescription } from "../model/description.js";
import type { MoeBlock, MoeOutput } from "../model/moe.js";
import { chooseExperts } from "../model/router.js";

/**
 * What the routed experts would have made of their inputs x `[tokens, hidden]` if its router took the top k of the softmax of its logits: what
 * the official code counts for every model, also for routers with sigmoids, selection biases or groups. The scores are
 * those of the softmax, and the weights are not normalised.
 */
export function softmaxRouted(backend: Backend, block: MoeBlock, x: Float32Array, result: MoeOutput): MoeOutput {
  const { router } = block.description;
  if (takesTopOfSoftmax(router)) return result;
  const { logits } = result.router;
  const experts = block.experts.count;
  const scores = backend.softmax(logits, experts);
  const rule: RouterDescription = { weight: router.weight, scores: "softmax", topK: router.topK, normalise: false };
  const routing = chooseExperts(backend, logits, scores, undefined, experts, rule);
  return { router: { logits, scores, routing }, ...backend.routed(x, block.experts, routing) };
}

function takesTopOfSoftmax({ scores, selectionBias, groups, sparseMixer }: RouterDescription): boolean {
  const grouped = groups !== undefined && groups.count > 1;
  return scores === "softmax" && selectionBias === undefined && !grouped && sparseMixer === undefined;
}
