import type { GramFactor } from "../backend.js";
import { picked, rowsOf } from "./products.js";

/** Adds xᵀ x to the upper triangle of sums `[columns, columns]` for x `[tokens, columns]`. */
export function addGram(
  sums: Float64Array,
  values: Float32Array,
  columns: number,
  anew = false,
  rows?: Int32Array,
): void {
  const x = picked(values, columns, rows);
  if (sums.length !== columns ** 2) throw new RangeError("addGram: the sums do not fit the columns");
  const tokens = rowsOf(x, columns, "addGram");
  if (anew) for (let i = 0; i < columns; i++) sums.fill(0, i * columns + i, (i + 1) * columns);
  for (let t = 0; t < tokens; t++) {
    for (let i = 0; i < columns; i++) {
      const value = x[t * columns + i]!;
      for (let j = i; j < columns; j++) sums[i * columns + j]! += value * x[t * columns + j]!;
    }
  }
}

/** trace(D H Dᵀ) for D `[rows, columns]` and the upper triangle of H. */
export function outputError(difference: Float32Array, gram: Float64Array): number {
  const columns = Math.sqrt(gram.length);
  const rows = rowsOf(difference, columns, "outputError");
  let total = 0;
  for (let r = 0; r < rows; r++) {
    for (let j = 0; j < columns; j++) {
      let product = (gram[j * columns + j]! * difference[r * columns + j]!) / 2;
      for (let i = 0; i < j; i++) product += gram[i * columns + j]! * difference[r * columns + i]!;
      total += 2 * product * difference[r * columns + j]!;
    }
  }
  return total;
}

/** A factor in float64. Position p of R is column `order[p]` of the matrix. */
export class ReferenceFactor implements GramFactor {
  constructor(
    readonly columns: number,
    /** R `[columns, columns]`, upper triangular. */
    readonly r: Float64Array,
    /** By position. */
    readonly order: Int32Array | undefined,
    /** What was added to the diagonal, by position. */
    readonly added: Float64Array,
    /** By position: the diagonal of R, or 0 where that of the Gram matrix is 0. */
    readonly importance: Float64Array,
  ) {}
  dispose(): void {}
}

/** Smallest share of its diagonal entry that a column must keep after what it has in common with later ones. */
const LEAST = 2 ** -22;

/**
 * The factor R of H + diag(added), from the last column to the first: R_jj² = H_jj - sum of R_jk² over k > j, and
 * R_ij = (H_ij - sum of R_ik R_jk over k > j) / R_jj for i < j. It is Cholesky's with rows and columns in reverse.
 *
 * Why this one: H⁻¹ = Uᵀ U with the U of both papers (the upper factor of the inverse) has U = R⁻¹, so U_jj = 1 / R_jj, and
 * the loops over columns can do without the inverse (docs/weight-pruning.md).
 */
export function factorGram(
  gram: Float64Array,
  added: Float64Array,
  order: Int32Array | undefined,
): ReferenceFactor | undefined {
  const n = added.length;
  if (gram.length !== n * n) throw new RangeError("factorGram: what is added does not fit the matrix");
  const column = (position: number) => (order === undefined ? position : order[position]!);
  const entry = (i: number, j: number) => gram[Math.min(i, j) * n + Math.max(i, j)]!;
  const r = new Float64Array(n * n);
  for (let j = n - 1; j >= 0; j--) {
    for (let i = j; i >= 0; i--) {
      let sum = entry(column(i), column(j)) + (i === j ? added[column(j)]! : 0);
      for (let k = j + 1; k < n; k++) sum -= r[i * n + k]! * r[j * n + k]!;
      if (i < j) r[i * n + j] = sum / r[j * n + j]!;
      else if (!(sum > LEAST * (entry(column(j), column(j)) + added[column(j)]!) && sum < Infinity)) return undefined;
      else r[j * n + j] = Math.sqrt(sum);
    }
  }
  const positions = Float64Array.from({ length: n }, (_, p) => p);
  const importance = positions.map((p) => (gram[column(p) * (n + 1)] === 0 ? 0 : r[p * (n + 1)]!));
  return new ReferenceFactor(
    n,
    r,
    order?.slice(),
    positions.map((p) => added[column(p)]!),
    importance,
  );
}
