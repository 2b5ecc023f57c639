import type { Backend } from "../engine/backend.js";

/** Singular values below this share of the largest count as none. The REAM paper (Fig. 5) names no tolerance; this is ours. */
const TOLERANCE = 0.01;

/**
 * Number of singular values of a matrix `[rows, columns]` that are at least 1 % of the largest: in how many dimensions its
 * rows really lie. By the smaller Gram matrix, whose eigenvalues are the squares, and Householder and Sturm.
 */
export function numericalRank(backend: Backend, matrix: Float32Array, columns: number): number {
  const rows = matrix.length / columns;
  const size = Math.min(rows, columns);
  const gram = new Float64Array(size * size);
  if (rows < columns) gram.set(backend.product(matrix, matrix, columns));
  else backend.addTransposedProduct(gram, matrix, matrix, columns, columns);
  const { diagonal, offDiagonal } = tridiagonal(gram, size);
  const largest = largestEigenvalue(diagonal, offDiagonal);
  return largest > 0 ? size - countBelow(diagonal, offDiagonal, TOLERANCE ** 2 * largest) : 0;
}

/** Householder reduction of a symmetric matrix, which is overwritten (Golub & Van Loan, algorithm 8.3.1). */
function tridiagonal(a: Float64Array, n: number) {
  const diagonal = new Float64Array(n);
  const offDiagonal = new Float64Array(n);
  const v = new Float64Array(n);
  const p = new Float64Array(n);
  for (let k = 0; k < n - 2; k++) {
    let squares = 0;
    for (let i = k + 1; i < n; i++) squares += a[i * n + k]! ** 2;
    const norm = Math.sqrt(squares);
    const first = a[(k + 1) * n + k]!;
    const alpha = first > 0 ? -norm : norm;
    offDiagonal[k] = alpha;
    const length = squares - first * alpha;
    if (length <= 0) continue;
    for (let i = k + 1; i < n; i++) v[i] = a[i * n + k]!;
    v[k + 1]! -= alpha;
    // A := H A H with H = 1 - v vᵀ / length.
    let inner = 0;
    for (let i = k + 1; i < n; i++) {
      let sum = 0;
      for (let j = k + 1; j < n; j++) sum += a[i * n + j]! * v[j]!;
      p[i] = sum / length;
      inner += p[i]! * v[i]!;
    }
    for (let i = k + 1; i < n; i++) p[i]! -= (inner / (2 * length)) * v[i]!;
    for (let i = k + 1; i < n; i++) {
      for (let j = k + 1; j < n; j++) a[i * n + j]! -= v[i]! * p[j]! + p[i]! * v[j]!;
    }
  }
  for (let i = 0; i < n; i++) diagonal[i] = a[i * n + i]!;
  if (n >= 2) offDiagonal[n - 2] = a[(n - 1) * n + n - 2]!;
  return { diagonal, offDiagonal };
}

/** Eigenvalues of a symmetric tridiagonal matrix that are smaller than x, by Sturm's sequence. */
function countBelow(diagonal: Float64Array, offDiagonal: Float64Array, x: number): number {
  let count = 0;
  let q = 1;
  for (let i = 0; i < diagonal.length; i++) {
    const square = i === 0 ? 0 : offDiagonal[i - 1]! ** 2;
    q = diagonal[i]! - x - (square === 0 ? 0 : square / (q === 0 ? Number.MIN_VALUE : q));
    if (q < 0) count += 1;
  }
  return count;
}

/** By bisection between Gershgorin's bounds. */
function largestEigenvalue(diagonal: Float64Array, offDiagonal: Float64Array): number {
  const n = diagonal.length;
  let [low, high] = [0, 0];
  for (let i = 0; i < n; i++) {
    const reach = Math.abs(offDiagonal[i - 1] ?? 0) + Math.abs(i + 1 < n ? offDiagonal[i]! : 0);
    high = Math.max(high, diagonal[i]! + reach);
  }
  for (let step = 0; step < 60 && high - low > 1e-12 * high; step++) {
    const middle = (low + high) / 2;
    if (countBelow(diagonal, offDiagonal, middle) < n) low = middle;
    else high = middle;
  }
  return high;
}
