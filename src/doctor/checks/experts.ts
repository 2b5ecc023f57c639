import type { Tensor } from "../../checkpoint/tensor.js";
import type { Activation, Backend, Experts, Routing } from "../../engine/backend.js";
import { Random } from "../../random.js";
import { type Check, type Numbers, normals, ROUNDED_BETWEEN, randomTensor, SUMS } from "./check.js";

const [COUNT, HIDDEN, WIDTH, TOKENS, TOP_K] = [3, 70, 48, 100, 2];

function experts(backend: Backend, activation: Activation, biased: boolean): Experts {
  const bias = (seed: number, size: number): Tensor => ({ ...randomTensor(seed, 1, size), shape: [size] });
  const tensors = Array.from({ length: COUNT }, (_, e) => ({
    gate: randomTensor(10 * e, WIDTH, HIDDEN),
    up: randomTensor(10 * e + 1, WIDTH, HIDDEN),
    down: randomTensor(10 * e + 2, HIDDEN, WIDTH),
    ...(biased && { gateBias: bias(10 * e + 3, WIDTH), upBias: bias(10 * e + 4, WIDTH) }),
    ...(biased && { downBias: bias(10 * e + 5, HIDDEN) }),
  }));
  return backend.experts(tensors, activation);
}

function routing(tokens: number): Routing {
  const random = new Random(1);
  const chosen = Array.from({ length: tokens }, () => [...random.permutation(COUNT).slice(0, TOP_K)].sort());
  return { tokens, topK: TOP_K, selected: Int32Array.from(chosen.flat()), weights: normals(2, tokens * TOP_K) };
}

/** Runs with plain experts, then with biased ones of another activation. */
function withExperts(backend: Backend, use: (made: Experts) => Numbers[]): Numbers[] {
  const clamped: Activation = { kind: "clamped_swiglu", alpha: 1.702, limit: 0.7 };
  return [experts(backend, "silu", false), experts(backend, clamped, true)].flatMap((made) => {
    const results = use(made);
    made.dispose();
    return results;
  });
}

/** Operations on the routed experts of a layer. */
export const expertChecks: readonly Check[] = [
  {
    operations: ["experts", "routed"],
    tolerance: ROUNDED_BETWEEN,
    run: (backend) =>
      withExperts(backend, (made) =>
        // Experts that share panels (few tokens), and experts with blocks of tokens.
        [1, TOKENS].flatMap((tokens) => {
          const { output, norms } = backend.routed(normals(3, tokens * HIDDEN), made, routing(tokens));
          return [output, norms];
        }),
      ),
  },
  {
    operations: ["expertActivation", "expertDown"],
    tolerance: SUMS,
    run: (backend) =>
      withExperts(backend, (made) => [
        backend.expertActivation(normals(4, TOKENS * HIDDEN), made, 2),
        backend.expertDown(normals(5, TOKENS * WIDTH), made, 1),
      ]),
  },
  {
    operations: ["addGatedActivations"],
    tolerance: SUMS,
    run: (backend) =>
      withExperts(backend, (made) =>
        [undefined, normals(6, TOKENS * COUNT)].map((factors) => {
          const sums = new Float64Array(COUNT * WIDTH);
          backend.addGatedActivations(sums, normals(7, TOKENS * HIDDEN), made, factors);
          return sums;
        }),
      ),
  },
  {
    operations: ["addOutputCosines"],
    tolerance: ROUNDED_BETWEEN,
    run: (backend) =>
      withExperts(backend, (made) => {
        const sums = new Float64Array(COUNT * COUNT);
        backend.addOutputCosines(sums, normals(8, TOKENS * HIDDEN), made);
        return [sums];
      }),
  },
];
