import type { Backend } from "../../engine/backend.js";
import { factorGram } from "../weights/gram-factor.js";
import type { LinearExperts, Part, Piece } from "./problem.js";
import type { Residuals } from "./residuals.js";

/** Takes what the experts make as they are from y, which leaves the residuals. */
export async function subtractAll(
  backend: Backend,
  experts: LinearExperts,
  residuals: Residuals,
  pause: () => Promise<void>,
): Promise<void> {
  for (let expert = 0; expert < experts.count; expert++) {
    const weights = experts.weights(expert);
    for (const piece of eachPiece(experts, expert)) subtract(backend, experts, residuals, piece, weights);
    await pause();
  }
}

/**
 * One sweep of block coordinate descent: every expert in turn gets the weights that minimise
 *
 *     sum_t || r_t + W_e a_te - W a_te ||² + lambda_e || W - W_e0 ||²
 *
 * over the fitted tokens, given what the others are now. With A = sum a aᵀ and B = sum r aᵀ the step from W_e is
 * (B - lambda_e (W_e - W_e0)) (A + lambda_e 1)^-1. lambda_e is `ridge` times the mean of A's diagonal, so that it means the
 * same for busy and idle experts. What weights become is rounded first, and the residuals are those of the rounded ones:
 * later experts make up for the rounding of earlier ones.
 */
export async function sweep(
  backend: Backend,
  experts: LinearExperts,
  residuals: Residuals,
  ridge: number,
  pause: () => Promise<void>,
): Promise<void> {
  for (let expert = 0; expert < experts.count; expert++) {
    // The inputs are needed twice, and cost more to make than all else.
    const fitted = [...experts.pieces(expert, "fitted")];
    const change = refit(backend, experts, residuals, expert, ridge, fitted);
    if (change !== undefined) {
      for (const piece of eachPiece(experts, expert, fitted)) subtract(backend, experts, residuals, piece, change);
    }
    await pause();
  }
}

/** Refits an expert; returns the change of its weights. Undefined: no token reaches it. */
function refit(
  backend: Backend,
  experts: LinearExperts,
  residuals: Residuals,
  expert: number,
  ridge: number,
  fitted: readonly Piece[],
): Float32Array | undefined {
  const { columns, hidden } = experts;
  const gram = new Float64Array(columns * columns);
  const products = new Float64Array(hidden * columns);
  for (const { rows, inputs } of fitted) {
    backend.addGram(gram, inputs, columns);
    backend.addTransposedProduct(products, residuals.take(rows), inputs, hidden, columns);
  }
  let trace = 0;
  for (let i = 0; i < columns; i++) trace += gram[i * (columns + 1)]!;
  if (trace === 0) return undefined;
  const lambda = (ridge * trace) / columns;
  const now = experts.weights(expert);
  const start = experts.start(expert);
  const b = Float32Array.from(products, (value, i) => value - lambda * (now[i]! - start[i]!));
  const factor = factorGram(backend, gram, columns, { damping: ridge });
  const wanted = backend.solveGram(factor, b);
  factor.dispose();
  for (let i = 0; i < wanted.length; i++) wanted[i]! += now[i]!;
  experts.replace(expert, wanted);
  const change = experts.weights(expert);
  return change.map((value, i) => value - now[i]!);
}

function subtract(
  backend: Backend,
  { columns }: LinearExperts,
  residuals: Residuals,
  { rows, inputs }: Piece,
  weights: Float32Array,
): void {
  residuals.subtract(rows, backend.product(inputs, weights, columns));
}

function* eachPiece(experts: LinearExperts, expert: number, fitted?: Iterable<Piece>): Generator<Piece> {
  const parts: readonly Part[] = ["fitted", "heldOut"];
  for (const part of parts) yield* part === "fitted" && fitted !== undefined ? fitted : experts.pieces(expert, part);
}
