import type { Backend, PruningPattern } from "../../engine/backend.js";
import type { Rounding } from "../../engine/rounding.js";
import { type Check, normals, randomTensor, SUMS } from "./check.js";

const [ROWS, COLUMNS] = [20, 96];

/** Inputs that have common causes, as those of layers do. */
function gram(backend: Backend): Float64Array {
  const [tokens, causes] = [200, 8];
  const mixed = backend.product(normals(1, tokens * causes), normals(2, COLUMNS * causes), causes);
  const noise = normals(3, tokens * COLUMNS, 0.3);
  const x = mixed.map((value, i) => value + noise[i]!);
  const sums = new Float64Array(COLUMNS * COLUMNS);
  backend.addGram(sums, x, COLUMNS);
  return sums;
}

/**
 * The error of a solver: as it is told, and by what the weights have become. Weights themselves may differ where two
 * candidates are nearly equal.
 */
function solverErrors(backend: Backend, solve: (weight: Float32Array, factor: ReturnType<typeof factorOf>) => number) {
  const sums = gram(backend);
  const weight = normals(4, ROWS * COLUMNS);
  const solved = weight.slice();
  const factor = factorOf(backend, sums);
  const told = solve(solved, factor);
  factor.dispose();
  const difference = solved.map((value, i) => value - weight[i]!);
  return [Float64Array.of(told, backend.outputError(difference, sums))];
}

function factorOf(backend: Backend, sums: Float64Array) {
  const mean = Array.from({ length: COLUMNS }, (_, i) => sums[i * (COLUMNS + 1)]!).reduce((a, b) => a + b) / COLUMNS;
  const factor = backend.factorGram(sums, new Float64Array(COLUMNS).fill(0.01 * mean), undefined);
  if (factor === undefined) throw new Error("a positive definite matrix has no factor");
  return factor;
}

const patterns: readonly PruningPattern[] = [
  { kind: "blocks", size: 40, counts: Int32Array.of(400, 400, 160) },
  { kind: "n:m", zeros: 2, of: 4 },
];

const roundings: readonly Rounding[] = [
  { kind: "integers", grid: { bits: 4, group: 32, symmetric: false }, scaleDtype: "BF16" },
  { kind: "integers", grid: { bits: 8, group: undefined, symmetric: true }, scaleDtype: "F32" },
  { kind: "e4m3", block: [16, 40], scaleDtype: "F32" },
  { kind: "mxfp4" },
  { kind: "nvfp4", globalScale: 700 },
];

/** What prunes and quantises single matrices. */
export const weightChecks: readonly Check[] = [
  { operations: ["addGram"], tolerance: SUMS, run: (backend) => [gram(backend)] },
  {
    operations: ["factorGram", "sparsegpt", "outputError"],
    tolerance: 1e-2,
    run: (backend) =>
      patterns.flatMap((pattern) =>
        solverErrors(backend, (weight, factor) => backend.sparsegpt(weight, factor, pattern).error),
      ),
  },
  {
    operations: ["gptq"],
    tolerance: 1e-2,
    run: (backend) =>
      solverErrors(backend, (weight, factor) => {
        const grid = { bits: 4, group: 32, symmetric: true } as const;
        const { codes, scales, error } = backend.gptq(weight, factor, grid, "BF16");
        for (const i of weight.keys()) weight[i] = codes[i]! * scales[Math.floor(i / 32)]!;
        return error;
      }),
  },
  {
    operations: ["solveGram"],
    tolerance: 1e-3,
    run(backend) {
      const factor = factorOf(backend, gram(backend));
      const solved = backend.solveGram(factor, normals(8, ROWS * COLUMNS));
      factor.dispose();
      return [solved];
    },
  },
  {
    operations: ["zeroSmallest"],
    tolerance: 0,
    run(backend) {
      const weight = normals(5, ROWS * COLUMNS);
      backend.zeroSmallest(weight, COLUMNS, COLUMNS, 40, normals(6, COLUMNS).map(Math.abs));
      return [weight];
    },
  },
  {
    operations: ["largest", "round"],
    tolerance: 0,
    run(backend) {
      const weight = randomTensor(7, ROWS, COLUMNS);
      const rounded = roundings.flatMap((rounding) => {
        const { codes, scales, zeros } = backend.round(weight, rounding);
        return [codes, scales, ...(zeros === undefined ? [] : [Int32Array.from(zeros)])];
      });
      return [Float64Array.of(backend.largest(weight)), ...rounded];
    },
  },
  {
    operations: ["expand"],
    tolerance: 0,
    run(backend) {
      const { rows, columns, block } = { rows: ROWS, columns: COLUMNS, block: [1, COLUMNS] as const };
      const codes = Uint8Array.from({ length: rows * columns }, (_, i) => (i * 37) % 256);
      const scaled = { kind: "int8", codes, rows, columns, block, factors: normals(9, rows), firstRow: 0 } as const;
      const { data } = backend.expand({ ...scaled, dtype: "F32" });
      return [new Float32Array(data.slice().buffer)];
    },
  },
];
