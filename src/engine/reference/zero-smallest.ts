/** Zeroes the weights of smallest score in each span (backend.ts, `zeroSmallest`). */
export function zeroSmallest(
  weight: Float32Array,
  columns: number,
  span: number,
  zeros: number,
  norms?: Float32Array,
): void {
  if (norms !== undefined && norms.length !== columns)
    throw new RangeError("zeroSmallest: norms do not fit the columns");
  if (weight.length === 0) return;
  if (weight.length % columns !== 0 || (span !== weight.length && columns % span !== 0) || !(zeros <= span)) {
    throw new RangeError(`zeroSmallest: ${zeros} of ${span} do not fit rows of ${columns}`);
  }
  const scores = weight.map((value, i) => Math.abs(value) * (norms?.[i % columns] ?? 1));
  for (let start = 0; start < weight.length; start += span) {
    for (const i of smallest(scores.subarray(start, start + span), zeros)) weight[start + i] = 0;
  }
}

/** Indices of the `count` smallest scores, among equals the first ones; NaN counts as largest. */
export function smallest(scores: Float32Array, count: number): Uint32Array {
  const rank = (i: number) => (Number.isNaN(scores[i]) ? 2 ** 128 * 2 : scores[i]!);
  const byScore = (a: number, b: number) => (rank(a) === rank(b) ? a - b : rank(a) - rank(b));
  return Uint32Array.from(scores.keys()).sort(byScore).subarray(0, count);
}
