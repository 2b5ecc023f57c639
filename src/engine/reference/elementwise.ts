import type { Activation, ClampedSilu, ClampedSwiglu, RotaryTable } from "../backend.js";
import { rowsOf } from "./products.js";

/** x / sqrt(mean(x²) + epsilon) * weight for each row. */
export function rmsNorm(x: Float32Array, weight: Float32Array, epsilon: number): Float32Array {
  const size = weight.length;
  const rows = rowsOf(x, size, "rmsNorm");
  const out = new Float32Array(x.length);
  for (let row = 0; row < rows; row++) {
    const start = row * size;
    let squares = 0;
    for (let i = 0; i < size; i++) squares += x[start + i]! ** 2;
    const factor = 1 / Math.sqrt(squares / size + epsilon);
    for (let i = 0; i < size; i++) out[start + i] = x[start + i]! * factor * weight[i]!;
  }
  return out;
}

/** (x - mean) / sqrt(variance + epsilon) * weight + bias for each row. */
export function layerNorm(
  x: Float32Array,
  weight: Float32Array,
  bias: Float32Array | undefined,
  epsilon: number,
): Float32Array {
  const size = weight.length;
  const rows = rowsOf(x, size, "layerNorm");
  if (bias !== undefined && bias.length !== size) throw new RangeError("layerNorm: the bias does not fit the weight");
  const out = new Float32Array(x.length);
  for (let row = 0; row < rows; row++) {
    const start = row * size;
    let sum = 0;
    for (let i = 0; i < size; i++) sum += x[start + i]!;
    const mean = sum / size;
    let squares = 0;
    for (let i = 0; i < size; i++) squares += (x[start + i]! - mean) ** 2;
    const factor = 1 / Math.sqrt(squares / size + epsilon);
    for (let i = 0; i < size; i++) out[start + i] = (x[start + i]! - mean) * factor * weight[i]! + (bias?.[i] ?? 0);
  }
  return out;
}

/** Rotary embedding in place (backend.ts, `rotate`). */
export function rotate(x: Float32Array, heads: number, headSize: number, table: RotaryTable): void {
  const tokens = rowsOf(x, heads * headSize, "rotate");
  rotateAt(
    x,
    heads,
    headSize,
    table,
    Int32Array.from({ length: tokens }, (_, token) => token % table.length),
  );
}

/** As `rotate`, each token at the position that is given (backend.ts, `rotateAt`). */
export function rotateAt(
  x: Float32Array,
  heads: number,
  headSize: number,
  { length, cos, sin, pairing }: RotaryTable,
  positions: Int32Array,
): void {
  const half = cos.length / length;
  const tokens = rowsOf(x, heads * headSize, "rotate");
  if (tokens !== positions.length) throw new RangeError(`rotate: ${positions.length} positions of ${tokens} tokens`);
  if (!Number.isInteger(half) || sin.length !== cos.length || 2 * half > headSize) {
    throw new RangeError("rotate: table does not fit the head");
  }
  const outside = positions.find((position) => position < 0 || position >= length);
  if (outside !== undefined) throw new RangeError(`rotate: position ${outside} is not in a table of ${length}`);
  const [step, distance] = pairing === "adjacent" ? [2, 1] : [1, half];
  for (let token = 0; token < tokens; token++) {
    const angle = positions[token]! * half;
    for (let head = 0; head < heads; head++) {
      const start = (token * heads + head) * headSize;
      for (let i = 0; i < half; i++) {
        const first = start + i * step;
        const a = x[first]!;
        const b = x[first + distance]!;
        x[first] = a * cos[angle + i]! - b * sin[angle + i]!;
        x[first + distance] = b * cos[angle + i]! + a * sin[angle + i]!;
      }
    }
  }
}

/** Softmax of each row, computed relative to the row's maximum. */
export function softmax(logits: Float32Array, columns: number): Float32Array {
  const rows = rowsOf(logits, columns, "softmax");
  const out = new Float32Array(logits.length);
  for (let row = 0; row < rows; row++) {
    const start = row * columns;
    let max = -Infinity;
    for (let i = 0; i < columns; i++) max = Math.max(max, logits[start + i]!);
    let sum = 0;
    for (let i = 0; i < columns; i++) sum += Math.exp(logits[start + i]! - max);
    for (let i = 0; i < columns; i++) out[start + i] = Math.exp(logits[start + i]! - max) / sum;
  }
  return out;
}

/** See `Backend.combine`. */
export function combine(sums: Float32Array, factor: number, terms: Float32Array, termsFactor: number): void {
  if (terms.length !== sums.length) throw new RangeError("combine: lengths differ");
  for (let i = 0; i < sums.length; i++) sums[i] = factor * sums[i]! + termsFactor * terms[i]!;
}

/** Those that are a function of the gate times up. */
export const ACTIVATIONS: Record<Extract<Activation, string>, (x: number) => number> = {
  silu: (x) => x / (1 + Math.exp(-x)),
  gelu: (x) => 0.5 * x * (1 + errorFunction(x * Math.SQRT1_2)),
  gelu_tanh: (x) => 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3))),
  sigmoid: (x) => 1 / (1 + Math.exp(-x)),
  relu: (x) => (x < 0 ? 0 : x),
};

/** Element-wise gated activation. */
export function gated(gate: Float32Array, up: Float32Array, activation: Activation): Float32Array {
  if (gate.length !== up.length) throw new RangeError("gated: lengths differ");
  if (typeof activation !== "string")
    return activation.kind === "clamped_swiglu"
      ? clampedSwiglu(gate, up, activation)
      : clampedSilu(gate, up, activation);
  const activate = ACTIVATIONS[activation];
  return gate.map((value, i) => activate(value) * up[i]!);
}

/** (u + 1) * g * sigmoid(alpha * g) for gate and up within their limits (backend.ts, `ClampedSwiglu`). */
function clampedSwiglu(gate: Float32Array, up: Float32Array, { alpha, limit }: ClampedSwiglu): Float32Array {
  if (!(Number.isFinite(alpha) && limit >= 0)) throw new RangeError(`gated: alpha ${alpha} and limit ${limit}`);
  return gate.map((value, i) => {
    const g = Math.min(value, limit);
    const u = Math.max(-limit, Math.min(up[i]!, limit));
    return ((u + 1) * g) / (1 + Math.exp(-alpha * g));
  });
}

/** min(silu(gate), limit) * u for u = up within the limit (backend.ts, `ClampedSilu`). */
function clampedSilu(gate: Float32Array, up: Float32Array, { limit }: ClampedSilu): Float32Array {
  if (!(limit >= 0)) throw new RangeError(`gated: limit ${limit}`);
  return gate.map((value, i) => {
    const g = Math.min(value / (1 + Math.exp(-value)), limit);
    return g * Math.max(-limit, Math.min(up[i]!, limit));
  });
}

/** erf to about 1e-16 by its Maclaurin series (small x) and continued fraction (large x), Abramowitz & Stegun 7.1. */
function errorFunction(x: number): number {
  const magnitude = Math.abs(x);
  if (magnitude > 6) return Math.sign(x);
  if (magnitude < 2.5) {
    let term = x;
    let sum = x;
    for (let n = 1; Math.abs(term) > 1e-17 * Math.abs(sum); n++) {
      term *= (-x * x) / n;
      sum += term / (2 * n + 1);
    }
    return (2 / Math.sqrt(Math.PI)) * sum;
  }
  let fraction = 0;
  for (let n = 60; n > 0; n--) fraction = n / 2 / (magnitude + fraction);
  return Math.sign(x) * (1 - Math.exp(-magnitude * magnitude) / (Math.sqrt(Math.PI) * (magnitude + fraction)));
}
