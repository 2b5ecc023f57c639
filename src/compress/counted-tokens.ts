import type { Routing } from "../engine/backend.js";
import type { TokenBatch } from "../model/layer.js";
import type { RoutedNorms } from "../model/moe.js";
import { pickRows } from "./rows.js";

/** A batch as statistics see it: only the tokens that count. */
export interface CountedTokens {
  /** `[tokens, hidden]`: what the routed experts see. */
  readonly x: Float32Array;
  /** `[tokens, experts]` */
  readonly logits: Float32Array;
  readonly scores: Float32Array;
  readonly routing: Routing;
  /** `[tokens, topK]` */
  readonly norms: Float32Array;
}

/** The rows of a batch that are tokens, not padding. Without a mask all are. */
export function countedTokens(
  x: Float32Array,
  result: RoutedNorms,
  mask: Uint8Array | undefined,
  experts: number,
): CountedTokens {
  const { router, norms } = result;
  const { logits, scores, routing } = router;
  if (mask === undefined || mask.every((value) => value !== 0)) return { x, logits, scores, routing, norms };
  const rows = Array.from(mask.keys()).filter((row) => mask[row] !== 0);
  const hidden = x.length / routing.tokens;
  const { topK } = routing;
  const selected = new Int32Array(rows.length * topK);
  for (const [i, row] of rows.entries())
    selected.set(routing.selected.subarray(row * topK, (row + 1) * topK), i * topK);
  return {
    x: pickRows(x, rows, hidden),
    logits: pickRows(logits, rows, experts),
    scores: pickRows(scores, rows, experts),
    routing: { ...routing, tokens: rows.length, selected, weights: pickRows(routing.weights, rows, topK) },
    norms: pickRows(norms, rows, topK),
  };
}

/** How many tokens of each sequence count. `masked`: padding does not. */
export function countedLengths({ sequences, length, mask }: TokenBatch, masked: boolean): number[] {
  return Array.from({ length: sequences }, (_, sequence) => {
    if (!masked || mask === undefined) return length;
    return mask.subarray(sequence * length, (sequence + 1) * length).filter((value) => value !== 0).length;
  });
}
