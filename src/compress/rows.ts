/** Rows of a row-major array, in the given order. */
export function pickRows(values: Float32Array, rows: ArrayLike<number>, columns: number): Float32Array {
  const picked = new Float32Array(rows.length * columns);
  for (let i = 0; i < rows.length; i++) {
    picked.set(values.subarray(rows[i]! * columns, (rows[i]! + 1) * columns), i * columns);
  }
  return picked;
}
