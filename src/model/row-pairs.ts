/** Rows of `size` numbers of a and b side by side: `[rows, 2 size]`. */
export function pairRows(a: Float32Array, b: Float32Array, size: number): Float32Array {
  const out = new Float32Array(2 * a.length);
  for (let at = 0; at < a.length; at += size) {
    out.set(a.subarray(at, at + size), 2 * at);
    out.set(b.subarray(at, at + size), 2 * at + size);
  }
  return out;
}

/** The rows of `size` numbers that `pairRows` was given. */
export function splitPairs(pairs: Float32Array, size: number): [a: Float32Array, b: Float32Array] {
  const [a, b] = [new Float32Array(pairs.length / 2), new Float32Array(pairs.length / 2)];
  for (let at = 0; at < a.length; at += size) {
    a.set(pairs.subarray(2 * at, 2 * at + size), at);
    b.set(pairs.subarray(2 * at + size, 2 * (at + size)), at);
  }
  return [a, b];
}
