import type { Backend } from "../../engine/backend.js";
import { factorGram } from "../weights/gram-factor.js";
import type { LinearExperts, Piece } from "./problem.js";
import type { Residuals } from "./residuals.js";

/**
 * The change of an expert's weights that solves its problem in a sweep: with A = sum a aᵀ and B = sum r aᵀ over the fitted
 * tokens it is (B - lambda_e (W_e - W_e0)) (A + lambda_e 1)^-1. Undefined: no token reaches the expert.
 */
export function directStep(
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
  const b = new Float32Array(products.length);
  for (let i = 0; i < b.length; i++) b[i] = products[i]! - lambda * (now[i]! - start[i]!);
  const factor = factorGram(backend, gram, columns, { damping: ridge });
  const change = backend.solveGram(factor, b);
  factor.dispose();
  return change;
}
