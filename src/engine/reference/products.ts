/** a[aStart + i] · b[bStart + i], i < length, accumulated in float64. */
export function dot(a: Float32Array, aStart: number, b: Float32Array, bStart: number, length: number): number {
  // Four independent sums: one alone waits for each addition to finish before the next can start.
  let sum0 = 0;
  let sum1 = 0;
  let sum2 = 0;
  let sum3 = 0;
  let i = 0;
  for (; i + 4 <= length; i += 4) {
    sum0 += a[aStart + i]! * b[bStart + i]!;
    sum1 += a[aStart + i + 1]! * b[bStart + i + 1]!;
    sum2 += a[aStart + i + 2]! * b[bStart + i + 2]!;
    sum3 += a[aStart + i + 3]! * b[bStart + i + 3]!;
  }
  for (; i < length; i++) sum0 += a[aStart + i]! * b[bStart + i]!;
  return sum0 + sum1 + (sum2 + sum3);
}

/** a bᵀ for a `[m, k]` and b `[n, k]`: `[m, n]`. */
export function product(a: Float32Array, b: Float32Array, k: number): Float32Array {
  const m = rowsOf(a, k, "a");
  const n = rowsOf(b, k, "b");
  const out = new Float32Array(m * n);
  for (let i = 0; i < m; i++) {
    for (let j = 0; j < n; j++) out[i * n + j] = dot(a, i * k, b, j * k, k);
  }
  return out;
}

/** Adds aᵀ b to sums `[m, n]` for a `[tokens, m]`, b `[tokens, n]`. */
export function addTransposedProduct(sums: Float64Array, a: Float32Array, b: Float32Array, m: number, n: number): void {
  const tokens = rowsOf(a, m, "a");
  if (rowsOf(b, n, "b") !== tokens || sums.length !== m * n)
    throw new RangeError("addTransposedProduct: shapes differ");
  for (let t = 0; t < tokens; t++) {
    for (let i = 0; i < m; i++) {
      const value = a[t * m + i]!;
      if (value === 0) continue;
      for (let j = 0; j < n; j++) sums[i * n + j]! += value * b[t * n + j]!;
    }
  }
}

/** Adds the squares of each column of rows `[tokens, width]` to sums `[width]`. */
export function addColumnSquares(sums: Float64Array, rows: Float32Array): void {
  const width = sums.length;
  const tokens = rowsOf(rows, width, "rows");
  for (let t = 0; t < tokens; t++) {
    for (let i = 0; i < width; i++) sums[i]! += rows[t * width + i]! ** 2;
  }
}

/** Number of rows of a row-major array with the given row length. */
export function rowsOf(values: { readonly length: number }, columns: number, what: string): number {
  const rows = values.length / columns;
  if (!Number.isInteger(rows)) throw new RangeError(`${what}: ${values.length} values are not rows of ${columns}`);
  return rows;
}
