import type { Backend, DeltaRuleShape, LinearAttentionShape, RecurrentSegment } from "../../src/engine/backend.js";
import type { Random } from "../../src/random.js";
import { normals } from "./native-cases.js";

/** A recurrent operation with inputs for some tokens, which can be run on any of them. */
export interface RecurrentCase {
  /** Numbers of a state. */
  readonly stateSize: number;
  /** Numbers of an output row. */
  readonly row: number;
  /** The tokens of these ranges one after the other. */
  run(backend: Backend, ranges: readonly Range[]): Float32Array;
}

export interface Range {
  readonly from: number;
  readonly to: number;
  readonly state: RecurrentSegment["state"];
}

export function convolutionCase(
  random: Random,
  tokens: number,
  channels: number,
  kernel: number,
  options: { readonly bias: boolean; readonly activation: "silu" | "none" },
): RecurrentCase {
  const x = normals(random, tokens * channels);
  const weight = normals(random, channels * kernel);
  const bias = options.bias ? normals(random, channels) : undefined;
  return {
    stateSize: (kernel - 1) * channels,
    row: channels,
    run: (backend, ranges) =>
      backend.convolution(select(x, tokens, ranges), weight, bias, kernel, options.activation, segmentsOf(ranges)),
  };
}

export function deltaRuleCase(
  random: Random,
  tokens: number,
  shape: DeltaRuleShape,
  gate: "scalar" | "channel",
): RecurrentCase & ReturnType<typeof deltaRuleInputs> {
  const inputs = deltaRuleInputs(random, tokens, shape, gate);
  return {
    ...inputs,
    stateSize: shape.valueHeads * shape.keySize * shape.valueSize,
    row: shape.valueHeads * shape.valueSize,
    run(backend, ranges) {
      const [qkv, logDecay, beta] = [inputs.qkv, inputs.logDecay, inputs.beta].map((values) =>
        select(values, tokens, ranges),
      );
      return backend.deltaRule(qkv!, logDecay!, beta!, shape, segmentsOf(ranges));
    },
  };
}

/** Inputs as layers make them: gates at most 0, beta between 0 and 1. */
function deltaRuleInputs(
  random: Random,
  tokens: number,
  { keyHeads, valueHeads, keySize, valueSize }: DeltaRuleShape,
  gate: "scalar" | "channel",
) {
  const gates = tokens * valueHeads * (gate === "scalar" ? 1 : keySize);
  return {
    qkv: normals(random, tokens * (2 * keyHeads * keySize + valueHeads * valueSize)),
    logDecay: normals(random, gates).map((value) => -0.3 * value ** 2),
    beta: normals(random, tokens * valueHeads).map((value) => 1 / (1 + Math.exp(-value))),
  };
}

export function linearAttentionCase(
  random: Random,
  tokens: number,
  shape: LinearAttentionShape,
  decay: "constant" | "of each token" = "constant",
): RecurrentCase {
  const { heads, keyHeads = heads, keySize, valueSize } = shape;
  const qkv = normals(random, tokens * (2 * keyHeads * keySize + heads * valueSize));
  const constant = Float32Array.from({ length: heads }, (_, head) => -(2 ** (-head - 1)));
  const changing = normals(random, tokens * heads).map((value) => -0.3 * value ** 2);
  return {
    stateSize: heads * keySize * valueSize,
    row: heads * valueSize,
    run: (backend, ranges) => {
      const logDecay = decay === "constant" ? constant : select(changing, tokens, ranges);
      return backend.linearAttention(select(qkv, tokens, ranges), logDecay, shape, segmentsOf(ranges));
    },
  };
}

/** Cases of every operation, in shapes of which few are multiples of what the kernels take at once. */
export const recurrentCases: [string, (random: Random, tokens: number) => RecurrentCase][] = [
  ["convolution", (r, n) => convolutionCase(r, n, 600, 4, { bias: false, activation: "silu" })],
  ["convolution with bias", (r, n) => convolutionCase(r, n, 7, 3, { bias: true, activation: "none" })],
  ["convolution of one token", (r, n) => convolutionCase(r, n, 5, 1, { bias: true, activation: "silu" })],
  ["delta rule", (r, n) => deltaRuleCase(r, n, { keyHeads: 2, valueHeads: 2, keySize: 64, valueSize: 128 }, "scalar")],
  [
    "delta rule, shared keys",
    (r, n) => deltaRuleCase(r, n, { keyHeads: 2, valueHeads: 6, keySize: 5, valueSize: 7 }, "scalar"),
  ],
  [
    "delta rule, gate of each channel",
    (r, n) => deltaRuleCase(r, n, { keyHeads: 1, valueHeads: 2, keySize: 20, valueSize: 70 }, "channel"),
  ],
  [
    "delta rule, keys of one number",
    (r, n) => deltaRuleCase(r, n, { keyHeads: 1, valueHeads: 1, keySize: 1, valueSize: 1 }, "channel"),
  ],
  ["linear attention", (r, n) => linearAttentionCase(r, n, { heads: 3, keySize: 64, valueSize: 64 })],
  [
    "linear attention, shared keys and decays of each token",
    (r, n) => linearAttentionCase(r, n, { heads: 6, keyHeads: 2, keySize: 20, valueSize: 70 }, "of each token"),
  ],
  ["linear attention, odd sizes", (r, n) => linearAttentionCase(r, n, { heads: 2, keySize: 7, valueSize: 69 })],
];

function segmentsOf(ranges: readonly Range[]): RecurrentSegment[] {
  return ranges.map(({ from, to, state }) => ({ tokens: to - from, state }));
}

/** The rows of the ranges, of an array that has rows for `tokens` tokens. */
function select(values: Float32Array, tokens: number, ranges: readonly Range[]): Float32Array {
  const row = values.length / tokens;
  return Float32Array.from(ranges.flatMap(({ from, to }) => [...values.subarray(from * row, to * row)]));
}
