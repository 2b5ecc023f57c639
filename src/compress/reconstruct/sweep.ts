import type { Backend } from "../../engine/backend.js";
import { conjugateStep } from "./conjugate-step.js";
import { directStep } from "./direct-step.js";
import { difference, negated, sum } from "./elementwise.js";
import { Kept } from "./kept.js";
import type { LinearExperts, Part, Piece } from "./problem.js";
import type { Residuals } from "./residuals.js";

/** Takes what the experts, or some of them, make as they are from y, which leaves the residuals. */
export async function subtractAll(
  backend: Backend,
  experts: LinearExperts,
  residuals: Residuals,
  pause: () => Promise<void>,
  some: Iterable<number> = Array(experts.count).keys(),
): Promise<void> {
  for (const expert of some) {
    subtract(backend, experts, residuals, expert, experts.weights(expert));
    await pause();
  }
}

/** Gives what some experts make as they are back to the residuals. */
export async function addBack(
  backend: Backend,
  experts: LinearExperts,
  residuals: Residuals,
  pause: () => Promise<void>,
  some: Iterable<number>,
): Promise<void> {
  for (const expert of some) {
    subtract(backend, experts, residuals, expert, negated(experts.weights(expert)));
    await pause();
  }
}

/**
 * One sweep of block coordinate descent: every expert in turn gets weights that lower
 *
 *     sum_t || r_t + E(W_e) - E(W) ||² + lambda_e || W - W_e0 ||²,  E(W) = what an expert with the weights W makes of token t
 *
 * over the fitted tokens, given what the others are now. lambda_e is `ridge` times the mean diagonal of the problem's Gram
 * matrix, so that it means the same for busy and idle experts. What weights become is rounded first, and the residuals are
 * those of the rounded ones: later experts make up for the rounding of earlier ones.
 *
 * @param kept what does not change from one sweep of these experts to the next
 */
export async function sweep(
  backend: Backend,
  experts: LinearExperts,
  residuals: Residuals,
  ridge: number,
  pause: () => Promise<void>,
  kept = new Kept(),
): Promise<void> {
  const step = experts.around === undefined ? directStep : conjugateStep;
  for (let expert = 0; expert < experts.count; expert++) {
    if (experts.isFree?.(expert) === false) continue;
    // The inputs are needed more than once, and cost more to make than all else.
    const fitted = [...experts.pieces(expert, "fitted")];
    const now = experts.weights(expert);
    const change = step({ backend, experts, residuals, expert, ridge, fitted, kept });
    if (change !== undefined) {
      experts.replace(expert, sum(now, change));
      subtract(backend, experts, residuals, expert, difference(experts.weights(expert), now), fitted);
    }
    await pause();
  }
}

/** Puts the weights of an earlier moment back (`LinearExperts.save`), and the residuals to theirs. */
export async function putBack(
  backend: Backend,
  experts: LinearExperts,
  residuals: Residuals,
  restore: (expert: number) => void,
  pause: () => Promise<void>,
): Promise<void> {
  for (let expert = 0; expert < experts.count; expert++) {
    const now = experts.weights(expert);
    restore(expert);
    const change = difference(experts.weights(expert), now);
    if (change.some((value) => value !== 0)) subtract(backend, experts, residuals, expert, change);
    await pause();
  }
}

/** Takes what an expert makes with some weights from the residuals of its tokens. */
function subtract(
  backend: Backend,
  experts: LinearExperts,
  residuals: Residuals,
  expert: number,
  weights: Float32Array,
  fitted?: Iterable<Piece>,
): void {
  const { around, columns } = experts;
  const outer = around?.outer(expert);
  const parts: readonly Part[] = ["fitted", "heldOut"];
  for (const part of parts) {
    const pieces = part === "fitted" && fitted !== undefined ? fitted : experts.pieces(expert, part);
    for (const { rows, values } of pieces) {
      if (outer === undefined) {
        backend.subtractProduct(residuals.values, rows, values, weights, columns);
        continue;
      }
      const made = backend.product(around!.inputs, weights, columns, { rows, factors: values });
      backend.subtractProduct(residuals.values, rows, made, outer, outer.length / experts.hidden);
    }
  }
}
