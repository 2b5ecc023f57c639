import type { Backend } from "../../engine/backend.js";
import type { RouterDescription } from "../../model/description.js";
import { sigmoid } from "../../model/sigmoid.js";
import { factorGram } from "../weights/gram-factor.js";

/** What the rows of a router are to make of its inputs. */
export interface RowProblem {
  /** x `[tokens, columns]`; a router with a bias has one more column of 1. */
  readonly inputs: Float32Array;
  readonly columns: number;
  /** q `[tokens, rows]`: the scores that are wanted. */
  readonly targets: Float32Array;
  readonly scores: RouterDescription["scores"];
  /** W_0 `[rows, columns]` */
  readonly start: Float32Array;
  /** lambda as a share of the mean diagonal of the bound on the curvature. */
  readonly ridge: number;
}

/** Scores `[tokens, rows]` of logits. */
export function scoresOf(
  backend: Backend,
  logits: Float32Array,
  rows: number,
  kind: RouterDescription["scores"],
): Float32Array {
  return kind === "softmax" ? backend.softmax(logits, rows) : logits.map(sigmoid);
}

/**
 * Rows W that minimise the cross entropy of the scores with q, for sigmoids of each score by itself,
 *
 *     - sum_t sum_g q_tg log p_tg (- (1 - q_tg) log(1 - p_tg))  +  lambda / 2 || W - W_0 ||²
 *
 * Its curvature is at most c X^T X + lambda, c = 1/2 for a softmax and 1/4 for sigmoids (Böhning 1992), so that steps
 * W - ((P - Q)^T X + lambda (W - W_0)) (c X^T X + lambda)^-1 never overshoot and need one factor for all rows. Momentum
 * makes them fast (Nesterov 1983), and is dropped where it points uphill (O'Donoghue & Candès 2015).
 *
 * Yields W after each step, without end.
 */
export function* fitRows(
  backend: Backend,
  { inputs, columns, targets, scores, start, ridge }: RowProblem,
): Generator<Float32Array, never> {
  const rows = start.length / columns;
  const bound = scores === "softmax" ? 0.5 : 0.25;
  const gram = new Float64Array(columns ** 2);
  backend.addGram(gram, inputs, columns);
  for (let i = 0; i < gram.length; i++) gram[i]! *= bound;
  let trace = 0;
  for (let i = 0; i < columns; i++) trace += gram[i * (columns + 1)]!;
  const lambda = (ridge * trace) / columns;
  const factor = factorGram(backend, gram, columns, { damping: ridge });
  try {
    let now = start;
    let ahead = start;
    for (let step = 1; ; step++) {
      const difference = scoresOf(backend, backend.product(inputs, ahead, columns), rows, scores);
      for (let i = 0; i < difference.length; i++) difference[i]! -= targets[i]!;
      const sums = new Float64Array(rows * columns);
      backend.addTransposedProduct(sums, difference, inputs, rows, columns);
      const gradient = Float32Array.from(sums, (sum, i) => sum + lambda * (ahead[i]! - start[i]!));
      const change = backend.solveGram(factor, gradient);
      const next = ahead.map((value, i) => value - change[i]!);
      const uphill = gradient.reduce((sum, value, i) => sum + value * (next[i]! - now[i]!), 0) > 0;
      if (uphill) step = 1;
      const momentum = uphill ? 0 : (step - 1) / (step + 2);
      ahead = next.map((value, i) => value + momentum * (value - now[i]!));
      now = next;
      yield now;
    }
  } finally {
    factor.dispose();
  }
}
