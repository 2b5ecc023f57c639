import type { Activation, Experts, Matrix, Routing } from "../backend.js";
import { gated } from "./elementwise.js";
import { dot, rowsOf } from "./products.js";

/** x `[tokens, columns]` times the transposed matrix: what `Backend.linear` computes without a bias. */
export type Linear = (x: Float32Array, matrix: Matrix) => Float32Array;

export interface ReferenceExperts extends Experts {
  readonly gate: readonly Matrix[];
  readonly up: readonly Matrix[];
  readonly down: readonly Matrix[];
  readonly activation: Activation;
}

/** activation(gate x) * (up x) of one expert: `[tokens, width]`. */
export function expertActivation(linear: Linear, x: Float32Array, experts: ReferenceExperts, expert: number) {
  return gated(linear(x, experts.gate[expert]!), linear(x, experts.up[expert]!), experts.activation);
}

/** The routed block, expert by expert over the tokens that chose it (backend.ts, `routed`). */
export function routed(linear: Linear, x: Float32Array, experts: ReferenceExperts, routing: Routing) {
  const { tokens, topK, selected, weights } = routing;
  const { hidden } = experts;
  const output = new Float32Array(tokens * hidden);
  const norms = new Float32Array(tokens * topK);
  const pairs: number[][] = Array.from({ length: experts.count }, () => []);
  for (let pair = 0; pair < tokens * topK; pair++) pairs[selected[pair]!]!.push(pair);
  for (const [expert, chosen] of pairs.entries()) {
    if (chosen.length === 0) continue;
    const input = new Float32Array(chosen.length * hidden);
    for (const [row, pair] of chosen.entries()) {
      const token = Math.floor(pair / topK);
      input.set(x.subarray(token * hidden, (token + 1) * hidden), row * hidden);
    }
    const result = linear(expertActivation(linear, input, experts, expert), experts.down[expert]!);
    for (const [row, pair] of chosen.entries()) {
      const start = row * hidden;
      norms[pair] = Math.sqrt(dot(result, start, result, start, hidden));
      const target = Math.floor(pair / topK) * hidden;
      for (let i = 0; i < hidden; i++) output[target + i]! += weights[pair]! * result[start + i]!;
    }
  }
  return { output, norms };
}

/** Adds sum over tokens of factors[t, e] * h_e(x_t) for every expert (backend.ts, `addGatedActivations`). */
export function addGatedActivations(
  linear: Linear,
  sums: Float64Array,
  x: Float32Array,
  experts: ReferenceExperts,
  factors: Float32Array | undefined,
): void {
  const { count, width, hidden } = experts;
  const tokens = rowsOf(x, hidden, "addGatedActivations");
  for (let expert = 0; expert < count; expert++) {
    const activation = expertActivation(linear, x, experts, expert);
    for (let t = 0; t < tokens; t++) {
      const factor = factors === undefined ? 1 : factors[t * count + expert]!;
      for (let i = 0; i < width; i++) sums[expert * width + i]! += factor * activation[t * width + i]!;
    }
  }
}

/** Adds the cosines between the outputs of every pair of experts, summed over tokens (backend.ts, `addOutputCosines`). */
export function addOutputCosines(linear: Linear, sums: Float64Array, x: Float32Array, experts: ReferenceExperts): void {
  const { count, hidden } = experts;
  const tokens = rowsOf(x, hidden, "addOutputCosines");
  const outputs = Array.from({ length: count }, (_, expert) =>
    linear(expertActivation(linear, x, experts, expert), experts.down[expert]!),
  );
  for (let t = 0; t < tokens; t++) {
    const start = t * hidden;
    const norms = outputs.map((output) => Math.sqrt(dot(output, start, output, start, hidden)));
    for (let i = 0; i < count; i++) {
      for (let j = 0; j < count; j++) {
        const norm = norms[i]! * norms[j]!;
        if (norm !== 0) sums[i * count + j]! += dot(outputs[i]!, start, outputs[j]!, start, hidden) / norm;
      }
    }
  }
}
