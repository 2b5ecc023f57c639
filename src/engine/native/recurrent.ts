import type { Backend, RecurrentSegment } from "../backend.js";
import type { Engine } from "./binary.js";
import { checked } from "./checked.js";

/** The operations that carry a state from token to token. */
export function recurrentOperations(engine: Engine): Pick<Backend, "convolution" | "deltaRule" | "linearAttention"> {
  return {
    convolution(x, weight, bias, kernel, activation, segments) {
      const { tokens, states } = columnsOf(segments);
      const size = whole(kernel);
      const out = new Float32Array(x.length);
      checked(() => engine.convolution(x, weight, bias, size, activation === "silu", tokens, states, out));
      return out;
    },
    deltaRule(qkv, logDecay, beta, shape, segments) {
      const [keyHeads, valueHeads] = [whole(shape.keyHeads), whole(shape.valueHeads)];
      const [keySize, valueSize] = [whole(shape.keySize), whole(shape.valueSize)];
      const { tokens, states, total } = columnsOf(segments);
      const out = new Float32Array(total * valueHeads * valueSize);
      checked(() =>
        engine.deltaRule(qkv, logDecay, beta, keyHeads, valueHeads, keySize, valueSize, tokens, states, out),
      );
      return out;
    },
    linearAttention(qkv, logDecay, shape, segments) {
      const [heads, keySize, valueSize] = [whole(shape.heads), whole(shape.keySize), whole(shape.valueSize)];
      const keyHeads = whole(shape.keyHeads ?? heads);
      const { tokens, states, total } = columnsOf(segments);
      const out = new Float32Array(total * heads * valueSize);
      checked(() => engine.linearAttention(qkv, logDecay, keyHeads, heads, keySize, valueSize, tokens, states, out));
      return out;
    },
  };
}

/** Segments as the library takes them (binary.ts), and the sum of their tokens. */
function columnsOf(segments: readonly RecurrentSegment[]) {
  const tokens = Uint32Array.from(segments, (segment) => whole(segment.tokens));
  const total = tokens.reduce((sum, count) => sum + count, 0);
  return { tokens, states: segments.map(({ state }) => state), total };
}

/** The library takes 32-bit numbers; others would wrap around. */
function whole(value: number): number {
  if (Number.isInteger(value) && value >= 0 && value <= 0xffffffff) return value;
  throw new RangeError(`${value} is not a number of tokens, heads or channels`);
}
