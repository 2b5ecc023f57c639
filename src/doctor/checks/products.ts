import { type Check, normals, randomTensor, SUMS } from "./check.js";

/** Products of matrices, and what is done to rows. */
export const productChecks: readonly Check[] = [
  {
    operations: ["matrix", "linear"],
    tolerance: SUMS,
    run(backend) {
      const matrix = backend.matrix(randomTensor(1, 70, 1030));
      // One row, a few, and more than a task has; sums over more columns than a block has.
      const results = [1, 7, 97].map((tokens) =>
        backend.linear(normals(2, tokens * 1030), matrix, normals(3, matrix.rows)),
      );
      matrix.dispose();
      return results;
    },
  },
  {
    operations: ["headLinear"],
    tolerance: SUMS,
    run(backend) {
      const heads = [4, 5, 6].map((seed) => backend.matrix(randomTensor(seed, 65, 70)));
      const result = backend.headLinear(normals(7, 9 * 3 * 70), heads);
      for (const head of heads) head.dispose();
      return [result];
    },
  },
  {
    operations: ["product"],
    tolerance: SUMS,
    run: (backend) => [backend.product(normals(8, 35 * 530), normals(9, 66 * 530), 530)],
  },
  {
    operations: ["addTransposedProduct"],
    tolerance: SUMS,
    run(backend) {
      const sums = new Float64Array(35 * 66).fill(2);
      backend.addTransposedProduct(sums, normals(10, 530 * 35), normals(11, 530 * 66), 35, 66);
      return [sums];
    },
  },
  {
    operations: ["product", "subtractProduct", "addGatedProduct"],
    tolerance: SUMS,
    run(backend) {
      const rows = Int32Array.from({ length: 101 }, (_, i) => (7 * i) % 120);
      const [x, v, g] = [normals(21, 120 * 66), normals(22, 35 * 66, 66 ** -0.5), symmetric(23, 35)];
      const factors = normals(24, rows.length * 35);
      const made = backend.product(x, v, 66, { rows, factors });
      const values = normals(25, 120 * 20);
      backend.subtractProduct(values, rows, made, normals(26, 20 * 35), 35);
      const sums = new Float64Array(35 * 66).fill(2);
      backend.addGatedProduct(sums, x, rows, factors, v, g, 66);
      return [made, values, sums];
    },
  },
  {
    operations: ["rmsNorm", "layerNorm", "softmax", "gated"],
    tolerance: SUMS,
    run(backend) {
      const [x, y] = [normals(12, 5 * 131, 3), normals(13, 5 * 131)];
      const [weight, bias] = [normals(14, 131), normals(15, 131)];
      return [
        backend.rmsNorm(x, weight, 1e-6),
        backend.layerNorm(x, weight, bias, 1e-6),
        backend.softmax(x, 131),
        ...(["silu", "gelu", "gelu_tanh", "sigmoid"] as const).map((activation) => backend.gated(x, y, activation)),
        backend.gated(x, y, { kind: "clamped_swiglu", alpha: 1.702, limit: 1 }),
        backend.gated(x, y, { kind: "clamped_silu", limit: 0.3 }),
      ];
    },
  },
  {
    operations: ["chooseExperts", "combine"],
    tolerance: 0,
    run(backend) {
      const [logits, bias] = [normals(27, 9 * 72), normals(28, 72)];
      // The sum of a token's weights, which divides them, has no zero near it.
      const scores = logits.map((logit) => Math.abs(logit));
      const groups = { count: 6, kept: 3, score: "sum-of-two" } as const;
      const grouped = { topK: 8, groups, normalise: true, epsilon: 1e-20, scale: 2.5 };
      const chosen = [
        backend.chooseExperts(logits, scores, undefined, 72, { topK: 8, normalise: false }),
        backend.chooseExperts(scores, scores, bias, 72, grouped),
      ];
      const sums = logits.slice();
      backend.combine(sums, 0.7, scores, 1.3);
      return [...chosen.flatMap(({ selected, weights }) => [selected, weights]), sums];
    },
  },
  {
    operations: ["addColumnSquares", "addScaled"],
    tolerance: 0,
    run(backend) {
      const squares = new Float64Array(70);
      backend.addColumnSquares(squares, normals(16, 9 * 70));
      const sums = normals(17, 6 * 70);
      backend.addScaled(sums, randomTensor(18, 6, 70), 0.3, { axis: "rows", order: Int32Array.of(3, 1, 0, 5, 4, 2) });
      return [squares, sums];
    },
  },
  {
    operations: ["assignment"],
    tolerance: 0,
    run: (backend) => [backend.assignment(Float64Array.from(normals(19, 40 * 40)), 40)],
  },
];

function symmetric(seed: number, size: number): Float32Array {
  const values = normals(seed, size * size);
  return values.map((value, i) => value + values[(i % size) * size + Math.floor(i / size)]!);
}
