import type { AttentionShape } from "../backend.js";
import { dot } from "./products.js";

/** Causal softmax attention, one query row at a time (backend.ts, `attention`). A row that sees no key yields zeros. */
export function attention(q: Float32Array, k: Float32Array, v: Float32Array, shape: AttentionShape): Float32Array {
  const { sequences, length, heads, keyValueHeads, headSize, scale, window, mask } = shape;
  if (q.length !== sequences * length * heads * headSize) throw new RangeError("attention: q does not fit the shape");
  if (k.length !== sequences * length * keyValueHeads * headSize || v.length !== k.length) {
    throw new RangeError("attention: k or v does not fit the shape");
  }
  const group = heads / keyValueHeads;
  const out = new Float32Array(q.length);
  const scores = new Float64Array(length);
  for (let sequence = 0; sequence < sequences; sequence++) {
    for (let head = 0; head < heads; head++) {
      const keyHead = Math.floor(head / group);
      const keyStart = (j: number) => ((sequence * length + j) * keyValueHeads + keyHead) * headSize;
      for (let i = 0; i < length; i++) {
        const first = window === undefined ? 0 : Math.max(0, i - window + 1);
        const query = ((sequence * length + i) * heads + head) * headSize;
        let max = -Infinity;
        for (let j = first; j <= i; j++) {
          const visible = mask === undefined || mask[sequence * length + j] !== 0;
          scores[j] = visible ? dot(q, query, k, keyStart(j), headSize) * scale : -Infinity;
          max = Math.max(max, scores[j]!);
        }
        if (max === -Infinity) continue;
        let sum = 0;
        for (let j = first; j <= i; j++) sum += Math.exp(scores[j]! - max);
        for (let j = first; j <= i; j++) {
          const weight = Math.exp(scores[j]! - max) / sum;
          if (weight === 0) continue;
          const value = keyStart(j);
          for (let d = 0; d < headSize; d++) out[query + d]! += weight * v[value + d]!;
        }
      }
    }
  }
  return out;
}
