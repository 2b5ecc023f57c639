import { isDeepStrictEqual } from "node:util";
import type { Tensor } from "../../checkpoint/tensor.js";
import type { Activation, ActivationSums, Experts, ExpertTensors, Matrix, Routing } from "../backend.js";
import type { ExpertBiases, ExpertForm } from "../expert-form.js";
import { gated } from "./elementwise.js";
import { dot, rowsOf } from "./products.js";

/** x `[tokens, columns]` times the transposed matrix, plus a bias: `Backend.linear`. */
export type Linear = (x: Float32Array, matrix: Matrix, bias?: Float32Array) => Float32Array;

/** An expert ready for products; some have no gate. */
interface ReadyExpert {
  readonly gate: Matrix | undefined;
  readonly up: Matrix;
  readonly down: Matrix;
  readonly biases: ExpertBiases;
}

/** The experts of a layer. */
export class ReferenceExperts implements Experts {
  readonly list: ReadyExpert[] = [];

  constructor(
    private readonly matrix: (weight: Tensor) => Matrix,
    private readonly form: ExpertForm,
    readonly activation: Activation,
  ) {}

  get count(): number {
    return this.list.length;
  }

  get hidden(): number {
    return this.form.hidden;
  }

  get width(): number {
    return this.form.width;
  }

  empty(): Experts {
    return new ReferenceExperts(this.matrix, this.form, this.activation);
  }

  add(expert: ExpertTensors): void {
    const biases = this.form.biasesOf(expert);
    const { gate, up, down } = expert;
    const { matrix } = this;
    this.list.push({ gate: gate && matrix(gate), up: matrix(up), down: matrix(down), biases });
  }

  share(from: Experts, expert: number): void {
    const { list, form, activation } = from as ReferenceExperts;
    this.form.expectSame(form);
    const shared = list[expert];
    if (shared === undefined || !isDeepStrictEqual(activation, this.activation))
      throw new RangeError(`experts: there is no expert ${expert} with this activation among ${list.length}`);
    this.list.push(shared);
  }

  dispose(): void {}
}

/** activation(gate x, up x) of one expert: `[tokens, width]`. */
export function expertActivation(linear: Linear, x: Float32Array, experts: ReferenceExperts, expert: number) {
  const own = experts.list[expert]!;
  const up = linear(x, own.up, own.biases.up);
  const gate = own.gate === undefined ? up : linear(x, own.gate, own.biases.gate);
  return gated(gate, up, experts.activation);
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
  const own = experts.list[expert]!;
  const up = scaled(own.up);
  return gated(own.gate === undefined ? up : scaled(own.gate), up, experts.activation);
}

/** Outputs of one expert for given activations: `[tokens, hidden]`. */
export function expertDown(linear: Linear, activation: Float32Array, experts: ReferenceExperts, expert: number) {
  const { down, biases } = experts.list[expert]!;
  return linear(activation, down, biases.down);
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
  const { hidden, width } = experts;
  if (scalesInputs && experts.list.some(({ biases }) => (biases.gate ?? biases.up) !== undefined)) {
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
