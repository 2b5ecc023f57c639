import type { Activation, Backend } from "../../engine/backend.js";
import type { JoinedExperts, RoutedBatch } from "../../engine/descent.js";
import { Random } from "../../random.js";
import { type Check, type Numbers, normals, SUMS } from "./check.js";

const [COUNT, HIDDEN, WIDTH, ROWS] = [4, 70, 34, 140];

/** Experts, the last of which gets no token. */
function experts(activation: Activation, gated: boolean, biased: boolean): JoinedExperts {
  const matrix = (seed: number, columns: number) => normals(seed, COUNT * WIDTH * HIDDEN, columns ** -0.5);
  const bias = (seed: number, size: number) => normals(seed, COUNT * size);
  const gate = gated ? matrix(1, HIDDEN) : undefined;
  return {
    ...{ hidden: HIDDEN, width: WIDTH, activation, matrices: { gate, up: matrix(2, HIDDEN), down: matrix(3, WIDTH) } },
    ...(biased && { gateBias: bias(4, WIDTH), upBias: bias(5, WIDTH), downBias: bias(6, HIDDEN) }),
  };
}

/** Tokens that all go to the first expert, and some to others too. */
function batch(count: number, scaled = false): RoutedBatch {
  const random = new Random(7);
  const rows = Int32Array.from(random.permutation(ROWS).slice(0, count));
  const routed: number[][] = Array.from({ length: COUNT }, () => []);
  for (let token = 0; token < count; token++) {
    routed[0]!.push(token);
    if (token % 4 === 0) routed[1 + random.below(COUNT - 2)]!.push(token);
  }
  const offsets = Int32Array.of(0, ...routed.map((_, i) => routed.slice(0, i + 1).flat().length));
  const [pairs, [x, y]] = [offsets[COUNT]!, [8, 9].map((seed) => normals(seed, ROWS * HIDDEN))];
  const inputFactors = scaled ? normals(11, pairs) : undefined;
  return {
    x: x!,
    y: y!,
    rows,
    offsets,
    tokens: Int32Array.from(routed.flat()),
    factors: normals(10, pairs),
    inputFactors,
  };
}

function gradients(backend: Backend, experts: JoinedExperts, routed: RoutedBatch): Numbers[] {
  const { gate, up, down } = experts.matrices;
  // What was there before must not matter.
  const empty = (like: Float32Array) => new Float32Array(like.length).fill(3);
  const out = { gate: gate && empty(gate), up: empty(up), down: empty(down) };
  const lost = backend.expertGradients(experts, routed, out);
  return [Float64Array.of(lost), ...(out.gate ? [out.gate] : []), out.up, out.down];
}

/** Operations of refits by descent. */
export const descentChecks: readonly Check[] = [
  {
    operations: ["expertGradients"],
    // Slopes of the reference are differences.
    tolerance: 4 * SUMS,
    run: (backend) => [
      ...gradients(backend, experts("silu", true, false), batch(101)),
      ...gradients(backend, experts("gelu", true, false), batch(9, true)),
      ...gradients(backend, experts("gelu_tanh", true, true), batch(9)),
      ...gradients(backend, experts("sigmoid", true, false), batch(9)),
      ...gradients(backend, experts("relu", false, false), batch(9)),
      ...gradients(backend, experts({ kind: "clamped_swiglu", alpha: 1.702, limit: 0.7 }, true, true), batch(9)),
      ...gradients(backend, experts({ kind: "clamped_silu", limit: 0.5 }, true, false), batch(9)),
    ],
  },
  {
    operations: ["adamStep"],
    tolerance: SUMS,
    run(backend) {
      const [weights, first, second] = [normals(12, 3 * 99), new Float32Array(3 * 99), new Float32Array(3 * 99)];
      for (const step of [1, 2, 3]) {
        const values = normals(12 + step, weights.length);
        values[1] = 0;
        backend.adamStep(weights, values, { first, second }, Float32Array.of(0.1, 0, 2), step);
      }
      return [weights, first, second];
    },
  },
];
