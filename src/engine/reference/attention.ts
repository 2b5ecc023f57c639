import type { AttentionShape, CachedAttentionShape } from "../backend.js";
import { dot } from "./products.js";

/** Causal softmax attention, one query row at a time (backend.ts, `attention`). A row that sees no key yields zeros. */
export function attention(q: Float32Array, k: Float32Array, v: Float32Array, shape: AttentionShape): Float32Array {
  const { sequences, length, heads, keyValueHeads, headSize, valueSize = headSize, scale, sinks, mask } = shape;
  const tokens = sequences * length;
  if (q.length !== tokens * heads * headSize) throw new RangeError("attention: q does not fit the shape");
  if (k.length !== tokens * keyValueHeads * headSize || v.length !== tokens * keyValueHeads * valueSize) {
    throw new RangeError("attention: k or v does not fit the shape");
  }
  checkSight(shape, heads, "attention");
  const group = heads / keyValueHeads;
  const out = new Float32Array(tokens * heads * valueSize);
  const scores = new Float64Array(length);
  for (let sequence = 0; sequence < sequences; sequence++) {
    for (let head = 0; head < heads; head++) {
      const keyRow = (j: number) => (sequence * length + j) * keyValueHeads + Math.floor(head / group);
      for (let i = 0; i < length; i++) {
        const first = firstSeen(i, shape);
        const query = (sequence * length + i) * heads + head;
        let max = -Infinity;
        for (let j = first; j <= i; j++) {
          const visible = mask === undefined || mask[sequence * length + j] !== 0;
          scores[j] = visible ? dot(q, query * headSize, k, keyRow(j) * headSize, headSize) * scale : -Infinity;
          max = Math.max(max, scores[j]!);
        }
        if (max === -Infinity) continue;
        const { reference, sum } = softmaxSum(scores.subarray(first, i + 1), max, sinks?.[head]);
        for (let j = first; j <= i; j++) {
          const weight = Math.exp(scores[j]! - reference) / sum;
          if (weight === 0) continue;
          const value = keyRow(j) * valueSize;
          for (let d = 0; d < valueSize; d++) out[query * valueSize + d]! += weight * v[value + d]!;
        }
      }
    }
  }
  return out;
}

/** The first position that a position sees, by window and chunk. */
export function firstSeen(position: number, { window, chunk }: Pick<CachedAttentionShape, "window" | "chunk">): number {
  const byWindow = window === undefined ? 0 : position - window + 1;
  const byChunk = chunk === undefined ? 0 : Math.floor(position / chunk) * chunk;
  return Math.max(0, byWindow, byChunk);
}

/** What scores are compared with, and the sum of e^(score - reference), a sink's included. */
export function softmaxSum(scores: Float64Array, max: number, sink: number | undefined) {
  const reference = Math.max(max, sink ?? -Infinity);
  let sum = sink === undefined ? 0 : Math.exp(sink - reference);
  for (const score of scores) sum += Math.exp(score - reference);
  return { reference, sum };
}

/** Refuses windows and chunks that see nothing, and sinks that do not fit. */
export function checkSight(
  { window, chunk, sinks }: Omit<CachedAttentionShape, "heads">,
  heads: number,
  what: string,
): void {
  for (const size of [window, chunk]) {
    if (size !== undefined && !(size >= 1)) throw new RangeError(`${what}: a window or chunk of ${size} sees nothing`);
  }
  if (sinks !== undefined && sinks.length !== heads)
    throw new RangeError(`${what}: ${sinks.length} sinks of ${heads} heads`);
}
