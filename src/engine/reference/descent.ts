import type { JoinedExperts, JoinedMatrices, Moments, RoutedBatch } from "../descent.js";
import { gated } from "./elementwise.js";
import { dot, rowsOf } from "./products.js";
import { slopesOf } from "./slopes.js";

/** `Backend.expertGradients` */
export function expertGradients(experts: JoinedExperts, batch: RoutedBatch, gradients: JoinedMatrices): number {
  const { hidden, width, activation, matrices } = experts;
  const { y, rows, offsets, factors } = batch;
  check(experts, batch, gradients);
  const pairs = [...pairsOf(batch)];
  const made = pairs.map(({ expert, pair, row }) => forward(experts, batch, expert, pair, row));
  const residuals = Array.from(rows, (row) => Float64Array.from(y.subarray(row * hidden, (row + 1) * hidden)));
  for (const { expert, pair, token } of pairs) {
    for (let i = 0; i < hidden; i++) {
      const output = dot(made[pair]!.activation, 0, matrices.down, (expert * hidden + i) * width, width);
      residuals[token]![i]! -= factors[pair]! * (output + (experts.downBias?.[expert * hidden + i] ?? 0));
    }
  }
  for (const values of [gradients.gate, gradients.up, gradients.down]) values?.fill(0);
  for (const { expert, pair, token, row } of pairs) {
    const r = residuals[token]!;
    const { gate, up, activation: h } = made[pair]!;
    const inner = batch.inputFactors?.[pair] ?? 1;
    for (let unit = 0; unit < width; unit++) {
      let behind = 0;
      for (let i = 0; i < hidden; i++) {
        const at = (expert * hidden + i) * width + unit;
        behind -= r[i]! * matrices.down[at]!;
        gradients.down[at]! -= factors[pair]! * r[i]! * h[unit]!;
      }
      const slopes = slopesOf(activation, gate[unit]!, up[unit]!);
      const common = inner * factors[pair]! * behind;
      const own = matrices.gate === undefined ? slopes.up + slopes.gate : slopes.up;
      for (let i = 0; i < hidden; i++) {
        const at = (expert * width + unit) * hidden + i;
        gradients.up[at]! += common * own * batch.x[row * hidden + i]!;
        if (gradients.gate !== undefined) gradients.gate[at]! += common * slopes.gate * batch.x[row * hidden + i]!;
      }
    }
  }
  if (offsets.length === 0) return 0;
  return residuals.reduce((all, r) => all + r.reduce((sum, value) => sum + value * value, 0), 0);
}

/** `Backend.adamStep` */
export function adamStep(
  weights: Float32Array,
  gradients: Float32Array,
  { first, second }: Moments,
  sizes: Float32Array,
  step: number,
): void {
  const lengths = [gradients, first, second].map(({ length }) => length);
  const own = weights.length / Math.max(1, sizes.length);
  if (lengths.some((length) => length !== weights.length) || !Number.isInteger(own) || !(step >= 1))
    throw new RangeError("adamStep: arrays of different lengths, or no step");
  for (let i = 0; i < weights.length; i++) {
    const gradient = gradients[i]!;
    first[i] = 0.9 * first[i]! + 0.1 * gradient;
    second[i] = 0.99 * second[i]! + 0.01 * gradient * gradient;
    const mean = first[i]! / (1 - 0.9 ** step);
    const root = Math.sqrt(second[i]! / (1 - 0.99 ** step)) + 1e-30;
    weights[i]! -= (sizes[Math.floor(i / own)]! * mean) / root;
  }
}

function* pairsOf({ rows, offsets, tokens }: RoutedBatch) {
  for (let expert = 0; expert + 1 < offsets.length; expert++) {
    for (let pair = offsets[expert]!; pair < offsets[expert + 1]!; pair++) {
      const token = tokens[pair]!;
      yield { expert, pair, token, row: rows[token]! };
    }
  }
}

/** What an expert's matrices make of a pair, `[width]` each. */
function forward(
  { hidden, width, activation, matrices, gateBias, upBias }: JoinedExperts,
  { x, inputFactors }: RoutedBatch,
  expert: number,
  pair: number,
  row: number,
) {
  const times = (matrix: Float32Array, bias: Float32Array | undefined) =>
    Float32Array.from({ length: width }, (_, unit) => {
      const sum = dot(x, row * hidden, matrix, (expert * width + unit) * hidden, hidden);
      return (inputFactors?.[pair] ?? 1) * sum + (bias?.[expert * width + unit] ?? 0);
    });
  const up = times(matrices.up, upBias);
  const gate = matrices.gate === undefined ? up : times(matrices.gate, gateBias);
  return { gate, up, activation: gated(gate, up, activation) };
}

function check({ hidden, width, matrices }: JoinedExperts, batch: RoutedBatch, gradients: JoinedMatrices): void {
  const { x, y, rows, offsets, tokens, factors, inputFactors = factors } = batch;
  const known = rowsOf(x, hidden, "x");
  const size = (offsets.length - 1) * width * hidden;
  const all = [matrices.up, matrices.down, gradients.up, gradients.down, matrices.gate, gradients.gate];
  if (all.some((values) => values !== undefined && values.length !== size))
    throw new RangeError("expertGradients: a matrix does not fit");
  if ((matrices.gate === undefined) !== (gradients.gate === undefined) || y.length !== x.length)
    throw new RangeError("expertGradients: gates without gradients, or inputs without outputs");
  const cut =
    offsets[0] === 0 && offsets.at(-1) === tokens.length && offsets.every((at, i) => i === 0 || at >= offsets[i - 1]!);
  if (!cut || factors.length !== tokens.length || inputFactors.length !== tokens.length)
    throw new RangeError("expertGradients: pairs do not fit");
  if (rows.some((row) => row < 0 || row >= known) || tokens.some((token) => token < 0 || token >= rows.length))
    throw new RangeError("expertGradients: a row or token is not there");
}
