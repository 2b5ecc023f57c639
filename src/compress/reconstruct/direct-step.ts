import { factorGram } from "../weights/gram-factor.js";
import type { Step } from "./step.js";

/**
 * The change of an expert's weights that solves its problem in a sweep: with A = sum a aᵀ and B = sum r aᵀ over the fitted
 * tokens it is (B - lambda_e (W_e - W_e0)) (A + lambda_e 1)^-1. Undefined: no token reaches the expert.
 */
export function directStep({
  backend,
  experts,
  residuals,
  expert,
  ridge,
  fitted,
  kept,
}: Step): Float32Array | undefined {
  const { columns, hidden } = experts;
  const gram = kept.take(
    `gram ${expert}`,
    () => {
      const sums = new Float64Array(columns * columns);
      for (const { values } of fitted) backend.addGram(sums, values, columns);
      return sums;
    },
    ({ byteLength }) => byteLength,
  );
  let trace = 0;
  for (let i = 0; i < columns; i++) trace += gram[i * (columns + 1)]!;
  if (trace === 0) return undefined;
  const products = new Float64Array(hidden * columns);
  for (const { rows, values } of fitted)
    backend.addTransposedProduct(products, residuals.values, values, hidden, columns, { a: rows });
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
