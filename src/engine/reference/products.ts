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

/** Some rows of an array `[*, columns]`, all where none are given. */
export function picked(values: Float32Array, columns: number, rows: Int32Array | undefined): Float32Array {
  const count = rowsOf(values, columns, "rows");
  if (rows === undefined) return values;
  if (rows.some((row) => row < 0 || row >= count)) throw new RangeError(`a row is not below ${count}`);
  const some = new Float32Array(rows.length * columns);
  for (const [i, row] of rows.entries()) some.set(values.subarray(row * columns, (row + 1) * columns), i * columns);
  return some;
}

/** a bᵀ for a `[m, k]` and b `[n, k]`, times factors `[m, n]`: `[m, n]`. */
export function product(
  values: Float32Array,
  b: Float32Array,
  k: number,
  { rows, factors }: { readonly rows?: Int32Array; readonly factors?: Float32Array } = {},
): Float32Array {
  const a = picked(values, k, rows);
  const m = rowsOf(a, k, "a");
  const n = rowsOf(b, k, "b");
  if (factors !== undefined && factors.length !== m * n) throw new RangeError("product: factors do not fit");
  const out = new Float32Array(m * n);
  for (let i = 0; i < m; i++) {
    for (let j = 0; j < n; j++) out[i * n + j] = (factors?.[i * n + j] ?? 1) * dot(a, i * k, b, j * k, k);
  }
  return out;
}

/** Adds sum over some rows x `[*, columns]` of (f ∘ G (f ∘ V x)) xᵀ to sums `[width, columns]`. */
export function addGatedProduct(
  sums: Float64Array,
  x: Float32Array,
  rows: Int32Array,
  factors: Float32Array,
  v: Float32Array,
  g: Float32Array,
  columns: number,
): void {
  const width = rowsOf(v, columns, "v");
  const made = product(x, v, columns, { rows, factors });
  addTransposedProduct(sums, product(made, g, width, { factors }), x, width, columns, { b: rows });
}

/** Takes a bᵀ, for a `[rows, k]` and b `[n, k]`, from some rows of values `[*, n]`. */
export function subtractProduct(
  values: Float32Array,
  rows: Int32Array,
  a: Float32Array,
  b: Float32Array,
  k: number,
): void {
  const n = rowsOf(b, k, "b");
  const count = rowsOf(values, n, "values");
  if (rows.length !== rowsOf(a, k, "a") || new Set(rows).size !== rows.length)
    throw new RangeError("subtractProduct: rows do not fit");
  if (rows.some((row) => row < 0 || row >= count)) throw new RangeError(`a row is not below ${count}`);
  for (let i = 0; i < rows.length; i++) {
    for (let j = 0; j < n; j++) values[rows[i]! * n + j]! -= dot(a, i * k, b, j * k, k);
  }
}

/** Adds aᵀ b to sums `[m, n]` for a `[tokens, m]`, b `[tokens, n]`. */
export function addTransposedProduct(
  sums: Float64Array,
  valuesOfA: Float32Array,
  valuesOfB: Float32Array,
  m: number,
  n: number,
  rows: { readonly a?: Int32Array; readonly b?: Int32Array } = {},
): void {
  const [a, b] = [picked(valuesOfA, m, rows.a), picked(valuesOfB, n, rows.b)];
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
