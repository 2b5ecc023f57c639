import type { Activation, ActivationSums, Experts, Matrix, Routing } from "../backend.js";
import type { ExpertBiases } from "../expert-biases.js";
import { gated } from "./elementwise.js";
import { dot, rowsOf } from "./products.js";

/** x `[tokens, columns]` times the transposed matrix, plus a bias: `Backend.linear`. */
export type Linear = (x: Float32Array, matrix: Matrix, bias?: Float32Array) => Float32Array;

export interface ReferenceExperts extends Experts {
  /** Undefined: the experts have no gates. */
  readonly gate: readonly Matrix[] | undefined;
  readonly up: readonly Matrix[];
  readonly down: readonly Matrix[];
  readonly biases: ExpertBiases;
  readonly activation: Activation;
}

/** activation(gate x, up x) of one expert: `[tokens, width]`. */
export function expertActivation(linear: Linear, x: Float32Array, experts: ReferenceExperts, expert: number) {
  const { biases, activation } = experts;
  const up = linear(x, experts.up[expert]!, biases.up?.[expert]);
  const gate = experts.gate === undefined ? up : linear(x, experts.gate[expert]!, biases.gate?.[expert]);
  return gated(gate, up, activation);
}

/** As `expertActivation` of the rows of x times factors `[tokens]`: w (gate x) is gate (w x) where there is no bias. */
function scaledActivation(
  linear: Linear,
  x: Float32Array,
  factors: Float32Array,
  experts: ReferenceExperts,
  expert: number,
) {
  const { width } = experts;
  // Not the inputs are scaled: in bf16 they are rounded as other inputs are.
  const scaled = (matrix: Matrix) => linear(x, matrix).map((value, i) => factors[Math.floor(i / width)]! * value);
  const up = scaled(experts.up[expert]!);
  return gated(experts.gate === undefined ? up : scaled(experts.gate[expert]!), up, experts.activation);
}

/** Outputs of one expert for given activations: `[tokens, hidden]`. */
export function expertDown(linear: Linear, activation: Float32Array, experts: ReferenceExperts, expert: number) {
  return linear(activation, experts.down[expert]!, experts.biases.down?.[expert]);
}

/** The routed block, expert by expert over the tokens that chose it (backend.ts, `routed`). */
export function routed(
  linear: Linear,
  x: Float32Array,
  experts: ReferenceExperts,
  routing: Routing,
  activations?: ActivationSums,
) {
  const { tokens, topK, selected, weights, scalesInputs = false } = routing;
  const { hidden, width, biases } = experts;
  if (scalesInputs && (biases.gate ?? biases.up) !== undefined) {
    throw new RangeError("routed: inputs of experts with biases of gate or up are not scaled");
  }
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
    const factors = Float32Array.from(chosen, (pair) => weights[pair]!);
    const activation = scalesInputs
      ? scaledActivation(linear, input, factors, experts, expert)
      : expertActivation(linear, input, experts, expert);
    if (activations !== undefined) {
      const { factors, sums } = activations;
      for (const [row, pair] of chosen.entries())
        for (let i = 0; i < width; i++) sums[expert * width + i]! += factors[pair]! * activation[row * width + i]!;
    }
    const result = expertDown(linear, activation, experts, expert);
    for (const [row, pair] of chosen.entries()) {
      const start = row * hidden;
      norms[pair] = Math.sqrt(dot(result, start, result, start, hidden));
      const target = Math.floor(pair / topK) * hidden;
      const factor = scalesInputs ? 1 : factors[row]!;
      for (let i = 0; i < hidden; i++) output[target + i]! += factor * result[start + i]!;
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
    expertDown(linear, expertActivation(linear, x, experts, expert), experts, expert),
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
