import { transposed } from "../../checkpoint/tensor-layout.js";
import type { Backend, GramFactor } from "../../engine/backend.js";
import { factorGram } from "../weights/gram-factor.js";
import { difference } from "./elementwise.js";
import type { LinearExperts, Piece } from "./problem.js";
import type { Residuals } from "./residuals.js";

/** Iterations of a step: a sweep need not solve what the next one changes. */
const ITERATIONS = 4;

/** Steps end where the gradient is this share of what it was. */
const SOLVED = 1e-4;

/**
 * A change of an expert's weights towards the solution of its problem in a sweep, where something fixed lies behind them
 * (`LinearExperts.outer`). The problem's normal equations are H V = B with
 *
 *     H V = sum_t (f_t ∘ G (f_t ∘ V a_t)) a_tᵀ + lambda_e V,  G = Oᵀ O
 *     B   = sum_t (f_t ∘ Oᵀ r_t) a_tᵀ - lambda_e (W_e - W_e0)
 *
 * H has the square of as many rows as there are weights: it is never made, but multiplied with, by conjugate gradients
 * (Hestenes & Stiefel 1952). They are preconditioned with what H would be if factors and inputs had nothing to do with
 * each other, (G ∘ mean f fᵀ) ⊗ sum a aᵀ, as in Martens & Grosse 2015. Undefined: no token reaches the expert.
 */
export function conjugateStep(
  backend: Backend,
  experts: LinearExperts,
  residuals: Residuals,
  expert: number,
  ridge: number,
  fitted: readonly Piece[],
): Float32Array | undefined {
  const { columns, hidden } = experts;
  const now = experts.weights(expert);
  const start = experts.start(expert);
  const width = now.length / columns;
  const outer = experts.outer!(expert);
  const outerTransposed = transposed(outer, width);
  const gram = new Float64Array(width * width);
  backend.addTransposedProduct(gram, outer, outer, width, width);
  const behind = new Float32Array(gram);

  const trace = traceOf(fitted, gram, width);
  if (!(trace > 0)) return undefined;
  const lambda = (ridge * trace) / now.length;
  /** sum_t (f_t ∘ z_t) a_tᵀ for z `[tokens, width]` of each piece, and `shift` times other weights. */
  const gathered = (shift: number, weights: Float32Array, z: (piece: Piece) => Float32Array): Float32Array => {
    const sums = new Float64Array(now.length);
    for (const piece of fitted)
      backend.addTransposedProduct(sums, times(z(piece), piece), piece.inputs, width, columns);
    const result = new Float32Array(sums.length);
    for (let i = 0; i < result.length; i++) result[i] = sums[i]! + shift * weights[i]!;
    return result;
  };
  const moved = difference(now, start);
  const left = gathered(-lambda, moved, ({ rows }) => backend.product(residuals.take(rows), outerTransposed, hidden));
  const preconditioner = new Preconditioner(backend, fitted, gram, width, columns, ridge);
  try {
    const change = new Float32Array(now.length);
    let solved = preconditioner.solve(left);
    let size = dot(left, solved);
    const least = SOLVED ** 2 * size;
    const direction = solved;
    for (let i = 0; i < ITERATIONS && size > least; i++) {
      const made = gathered(lambda, direction, (piece) =>
        backend.product(times(backend.product(piece.inputs, direction, columns), piece), behind, width),
      );
      const length = size / dot(direction, made);
      for (let j = 0; j < change.length; j++) {
        change[j]! += length * direction[j]!;
        left[j]! -= length * made[j]!;
      }
      if (i + 1 === ITERATIONS) break;
      solved = preconditioner.solve(left);
      const next = dot(left, solved);
      for (let j = 0; j < change.length; j++) direction[j] = solved[j]! + (next / size) * direction[j]!;
      size = next;
    }
    return change;
  } finally {
    preconditioner.dispose();
  }
}

/** (A ⊗ X)^-1 for A = G ∘ mean f fᵀ and X = sum a aᵀ, both with the root of the ridge on their diagonals. */
class Preconditioner {
  private readonly rows: GramFactor;
  private readonly inputs: GramFactor;

  constructor(
    private readonly backend: Backend,
    fitted: readonly Piece[],
    behind: Float64Array,
    private readonly width: number,
    private readonly columns: number,
    ridge: number,
  ) {
    const factors = new Float64Array(width * width);
    const inputs = new Float64Array(columns * columns);
    let tokens = 0;
    for (const piece of fitted) {
      backend.addGram(factors, piece.factors!, width);
      backend.addGram(inputs, piece.inputs, columns);
      tokens += piece.rows.length;
    }
    for (let i = 0; i < factors.length; i++) factors[i]! *= behind[i]! / tokens;
    const damping = Math.sqrt(ridge);
    this.rows = factorGram(backend, factors, width, { damping });
    this.inputs = factorGram(backend, inputs, columns, { damping });
  }

  solve(b: Float32Array): Float32Array {
    const { backend, width, columns } = this;
    const half = backend.solveGram(this.inputs, b);
    return transposed(backend.solveGram(this.rows, transposed(half, columns)), width);
  }

  dispose(): void {
    this.rows.dispose();
    this.inputs.dispose();
  }
}

/** The trace of sum_t diag(f_t) G diag(f_t) ⊗ a_t a_tᵀ. */
function traceOf(fitted: readonly Piece[], gram: Float64Array, width: number): number {
  let trace = 0;
  for (const { rows, inputs, factors } of fitted) {
    const columns = inputs.length / rows.length;
    for (let t = 0; t < rows.length; t++) {
      let [behind, squares] = [0, 0];
      for (let i = 0; i < width; i++) behind += gram[i * (width + 1)]! * factors![t * width + i]! ** 2;
      for (let i = t * columns; i < (t + 1) * columns; i++) squares += inputs[i]! ** 2;
      trace += behind * squares;
    }
  }
  return trace;
}

/** Values `[tokens, width]` times the piece's factors, in place. */
function times(values: Float32Array, { factors }: Piece): Float32Array {
  for (let i = 0; i < values.length; i++) values[i]! *= factors![i]!;
  return values;
}

function dot(a: Float32Array, b: Float32Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i]! * b[i]!;
  return sum;
}
