import type { RecurrentSegment } from "../backend.js";
import { rowsOf } from "./products.js";
import { checkSizes, placed } from "./segments.js";

/** Causal depthwise convolution (backend.ts, `convolution`). */
export function convolution(
  x: Float32Array,
  weight: Float32Array,
  bias: Float32Array | undefined,
  kernel: number,
  activation: "silu" | "none",
  segments: readonly RecurrentSegment[],
): Float32Array {
  checkSizes([kernel], "convolution");
  const channels = rowsOf(weight, kernel, "convolution: weight");
  if (bias !== undefined && bias.length !== channels) throw new RangeError("convolution: the bias does not fit");
  const past = (kernel - 1) * channels;
  const out = new Float32Array(x.length);
  for (const { start, tokens, state } of placed(segments, rowsOf(x, channels, "convolution"), past, "convolution")) {
    const first = start * channels;
    const length = tokens * channels;
    /** Row t + i is what weight i of token t multiplies. */
    const inputs = new Float32Array(past + length);
    inputs.set(state);
    inputs.set(x.subarray(first, first + length), past);
    for (let j = 0; j < length; j++) {
      const channel = j % channels;
      let sum = bias?.[channel] ?? 0;
      for (let i = 0; i < kernel; i++) sum += weight[channel * kernel + i]! * inputs[j + i * channels]!;
      out[first + j] = activation === "silu" ? sum / (1 + Math.exp(-sum)) : sum;
    }
    state.set(inputs.subarray(length));
  }
  return out;
}
