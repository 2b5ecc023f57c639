import type { LinearAttentionShape, RecurrentSegment } from "../backend.js";
import { rowsOf } from "./products.js";
import { checkSizes, placed } from "./segments.js";

/** Linear attention, one token after the other (backend.ts, `linearAttention`). States are float32 after each token. */
export function linearAttention(
  qkv: Float32Array,
  logDecay: Float32Array,
  { heads, keyHeads = heads, keySize, valueSize }: LinearAttentionShape,
  segments: readonly RecurrentSegment[],
): Float32Array {
  checkSizes([heads, keyHeads, heads / keyHeads, keySize, valueSize], "linearAttention");
  const keys = keyHeads * keySize;
  const row = 2 * keys + heads * valueSize;
  const tokens = rowsOf(qkv, row, "linearAttention");
  const constant = logDecay.length === heads;
  if (!constant && logDecay.length !== tokens * heads) throw new RangeError("linearAttention: logDecay does not fit");
  const size = keySize * valueSize;
  const out = new Float32Array(tokens * heads * valueSize);
  for (const { start, tokens: count, state } of placed(segments, tokens, heads * size, "linearAttention")) {
    for (let token = start; token < start + count; token++) {
      for (let head = 0; head < heads; head++) {
        const q = token * row + Math.floor((head * keyHeads) / heads) * keySize;
        const k = q + keys;
        const decay = Math.exp(logDecay[constant ? head : token * heads + head]!);
        const s = state.subarray(head * size, (head + 1) * size);
        for (let j = 0; j < valueSize; j++) {
          const value = qkv[token * row + 2 * keys + head * valueSize + j]!;
          let sum = 0;
          for (let i = 0; i < keySize; i++) {
            s[i * valueSize + j] = decay * s[i * valueSize + j]! + qkv[k + i]! * value;
            sum += qkv[q + i]! * s[i * valueSize + j]!;
          }
          out[(token * heads + head) * valueSize + j] = sum;
        }
      }
    }
  }
  return out;
}
