import type { DeltaRuleShape, RecurrentSegment } from "../backend.js";
import { rowsOf } from "./products.js";
import { checkSizes, placed } from "./segments.js";

/** Gated delta rule, one token after the other (backend.ts, `deltaRule`). States are float32 after each token. */
export function deltaRule(
  qkv: Float32Array,
  logDecay: Float32Array,
  beta: Float32Array,
  { keyHeads, valueHeads, keySize, valueSize }: DeltaRuleShape,
  segments: readonly RecurrentSegment[],
): Float32Array {
  checkSizes([keyHeads, valueHeads, keySize, valueSize, valueHeads / keyHeads], "deltaRule");
  const keys = keyHeads * keySize;
  const row = 2 * keys + valueHeads * valueSize;
  const tokens = rowsOf(qkv, row, "deltaRule");
  if (beta.length !== tokens * valueHeads) throw new RangeError("deltaRule: beta does not fit");
  const perChannel = logDecay.length !== beta.length;
  if (perChannel && logDecay.length !== beta.length * keySize) throw new RangeError("deltaRule: logDecay does not fit");
  const size = keySize * valueSize;
  const out = new Float32Array(tokens * valueHeads * valueSize);
  for (const { start, tokens: count, state } of placed(segments, tokens, valueHeads * size, "deltaRule")) {
    for (let token = start; token < start + count; token++) {
      for (let head = 0; head < valueHeads; head++) {
        const key = token * row + Math.floor(head / (valueHeads / keyHeads)) * keySize;
        const q = unit(qkv.subarray(key, key + keySize), keySize ** -0.5);
        const k = unit(qkv.subarray(key + keys, key + keys + keySize), 1);
        const index = token * valueHeads + head;
        const decay = k.map((_, i) => Math.exp(logDecay[perChannel ? index * keySize + i : index]!));
        const s = state.subarray(head * size, (head + 1) * size);
        for (let j = 0; j < valueSize; j++) {
          let recalled = 0;
          for (let i = 0; i < keySize; i++) recalled += k[i]! * decay[i]! * s[i * valueSize + j]!;
          const change = beta[index]! * (qkv[token * row + 2 * keys + head * valueSize + j]! - recalled);
          let sum = 0;
          for (let i = 0; i < keySize; i++) {
            s[i * valueSize + j] = decay[i]! * s[i * valueSize + j]! + k[i]! * change;
            sum += q[i]! * s[i * valueSize + j]!;
          }
          out[index * valueSize + j] = sum;
        }
      }
    }
  }
  return out;
}

/** x scaled to a length. */
function unit(x: Float32Array, length: number): Float64Array {
  const squares = x.reduce((sum, value) => sum + value ** 2, 0);
  return Float64Array.from(x, (value) => (value * length) / Math.sqrt(squares + 1e-6));
}
