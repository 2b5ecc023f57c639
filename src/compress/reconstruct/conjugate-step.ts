import { transposed } from "../../checkpoint/tensor-layout.js";
import type { Backend, GramFactor } from "../../engine/backend.js";
import { factorGram } from "../weights/gram-factor.js";
import { difference } from "./elementwise.js";
import type { Piece } from "./problem.js";
import type { Step } from "./step.js";

/** Iterations of a step: a sweep need not solve what the next one changes. */
const ITERATIONS = 8;

/** What the preconditioner adds to the diagonal of its smaller matrix, as a share of it. */
const LEAST_DAMPING = 0.01;

/** Steps end where the gradient is this share of what it was. */
const SOLVED = 1e-4;

/**
 * A change of an expert's weights towards the solution of its problem in a sweep, where something fixed lies behind them
 * (`LinearExperts.around`). The problem's normal equations are H V = B with
 *
 *     H V = sum_t (f_t ∘ G (f_t ∘ V x_t)) x_tᵀ + lambda_e V,  G = Oᵀ O
 *     B   = sum_t (f_t ∘ Oᵀ r_t) x_tᵀ - lambda_e (W_e - W_e0)
 *
 * H has the square of as many rows as there are weights: it is never made, but multiplied with, by conjugate gradients
 * (Hestenes & Stiefel 1952). They are preconditioned with what H would be if factors and inputs had nothing to do with
 * each other, (G ∘ mean f fᵀ) ⊗ sum x xᵀ, as in Martens & Grosse 2015. Undefined: no token reaches the expert.
 */
export function conjugateStep(step: Step): Float32Array | undefined {
  const { backend, experts, residuals, expert, ridge, fitted, kept } = step;
  const { columns, hidden } = experts;
  const { inputs, outer: outerOf } = experts.around!;
  const outer = outerOf(expert);
  const now = experts.weights(expert);
  const start = experts.start(expert);
  const width = now.length / columns;
  const sums = kept.take(`sums ${expert}`, () => fixedSums(step, outer, width), sizeOf);
  if (!(sums.trace > 0)) return undefined;
  const lambda = (ridge * sums.trace) / now.length;
  const behind = new Float32Array(sums.behind);
  /** What all pieces add to a sum like the weights, and `shift` times other weights. */
  const gathered = (shift: number, weights: Float32Array, add: (sums: Float64Array, piece: Piece) => void) => {
    const products = new Float64Array(now.length);
    for (const piece of fitted) add(products, piece);
    const result = new Float32Array(products.length);
    for (let i = 0; i < result.length; i++) result[i] = products[i]! + shift * weights[i]!;
    return result;
  };
  const outerTransposed = transposed(outer, width);
  const left = gathered(-lambda, difference(now, start), (products, { rows, values: factors }) => {
    const own = backend.product(residuals.values, outerTransposed, hidden, { rows, factors });
    backend.addTransposedProduct(products, own, inputs, width, columns, { b: rows });
  });
  const preconditioner = new Preconditioner(backend, sums, width, columns, ridge);
  try {
    const change = new Float32Array(now.length);
    let solved = preconditioner.solve(left);
    let size = dot(left, solved);
    const least = SOLVED ** 2 * size;
    const direction = solved;
    for (let i = 0; i < ITERATIONS && size > least; i++) {
      const made = gathered(lambda, direction, (products, { rows, values: factors }) =>
        backend.addGatedProduct(products, inputs, rows, factors, direction, behind, columns),
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

/** What an expert's normal equations have in every sweep. */
interface FixedSums {
  /** G `[width, width]` */
  readonly behind: Float64Array;
  /** G ∘ mean f fᵀ `[width, width]`, of which the upper triangle is meant. */
  readonly factors: Float64Array;
  /** sum x xᵀ `[columns, columns]`, likewise. */
  readonly inputs: Float64Array;
  /** That of sum_t diag(f_t) G diag(f_t) ⊗ x_t x_tᵀ. */
  readonly trace: number;
}

function fixedSums({ backend, experts, fitted }: Step, outer: Float32Array, width: number): FixedSums {
  const { columns, around } = experts;
  const x = around!.inputs;
  const behind = new Float64Array(width * width);
  backend.addTransposedProduct(behind, outer, outer, width, width);
  const factors = new Float64Array(width * width);
  const inputs = new Float64Array(columns * columns);
  let [tokens, trace] = [0, 0];
  for (const { rows, values } of fitted) {
    backend.addGram(factors, values, width);
    backend.addGram(inputs, x, columns, false, rows);
    tokens += rows.length;
    for (const [t, row] of rows.entries()) {
      let [made, squares] = [0, 0];
      for (let i = 0; i < width; i++) made += behind[i * (width + 1)]! * values[t * width + i]! ** 2;
      for (let i = row * columns; i < (row + 1) * columns; i++) squares += x[i]! ** 2;
      trace += made * squares;
    }
  }
  for (let i = 0; i < factors.length; i++) factors[i]! *= behind[i]! / Math.max(1, tokens);
  return { behind, factors, inputs, trace };
}

function sizeOf({ behind, factors, inputs }: FixedSums): number {
  return behind.byteLength + factors.byteLength + inputs.byteLength;
}

/**
 * (A ⊗ X)^-1 for A = G ∘ mean f fᵀ and X = sum x xᵀ. The ridge is on the diagonal of X, whose eigenvalues differ by
 * far more than those of A.
 */
class Preconditioner {
  private readonly rows: GramFactor;
  private readonly inputs: GramFactor;

  constructor(
    private readonly backend: Backend,
    { factors, inputs }: FixedSums,
    private readonly width: number,
    private readonly columns: number,
    ridge: number,
  ) {
    this.rows = factorGram(backend, factors, width, { damping: LEAST_DAMPING });
    this.inputs = factorGram(backend, inputs, columns, { damping: ridge });
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

function dot(a: Float32Array, b: Float32Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i]! * b[i]!;
  return sum;
}
