import { describe, expect, test } from "vitest";
import { fitRows, type RowProblem, scoresOf } from "../../../src/compress/router/fit-rows.js";
import { groupBias, groupMass } from "../../../src/compress/router/group-mass.js";
import { createNativeBackend } from "../../../src/engine/native/native-backend.js";
import { createReferenceBackend } from "../../../src/engine/reference/reference-backend.js";
import { Random } from "../../../src/random.js";

const [tokens, columns, rows] = [300, 6, 5];
const native = createNativeBackend({ precision: "f32" });

function rowsAfter(problem: RowProblem, steps: number, backend = native): Float32Array {
  let taken = 0;
  for (const now of fitRows(backend, problem)) if (++taken === steps) return now;
  throw new Error("ended");
}

/** Cross entropy and ridge, and its gradient, in float64 from the definition. */
function objective({ inputs, targets, scores, start, ridge }: RowProblem, w: ArrayLike<number>) {
  const bound = scores === "softmax" ? 0.5 : 0.25;
  const lambda = (ridge * bound * inputs.reduce((sum, x) => sum + x * x, 0)) / columns;
  let value = 0;
  const gradient = new Float64Array(rows * columns);
  for (let t = 0; t < tokens; t++) {
    const x = inputs.subarray(t * columns, (t + 1) * columns);
    const z = Array.from({ length: rows }, (_, r) => x.reduce((sum, v, i) => sum + v * w[r * columns + i]!, 0));
    const total = z.reduce((sum, v) => sum + Math.exp(v), 0);
    const p = z.map((v) => (scores === "softmax" ? Math.exp(v) / total : 1 / (1 + Math.exp(-v))));
    for (let r = 0; r < rows; r++) {
      const q = targets[t * rows + r]!;
      value -= q * Math.log(p[r]!) + (scores === "sigmoid" ? (1 - q) * Math.log(1 - p[r]!) : 0);
      for (let i = 0; i < columns; i++) gradient[r * columns + i]! += (p[r]! - q) * x[i]!;
    }
  }
  for (let i = 0; i < gradient.length; i++) {
    value += (lambda / 2) * (w[i]! - start[i]!) ** 2;
    gradient[i]! += lambda * (w[i]! - start[i]!);
  }
  return { value, steepest: Math.max(...gradient.map(Math.abs)) };
}

describe.each(["softmax", "sigmoid"] as const)("%s", (scores) => {
  const random = new Random(7);
  const normal = (length: number) => Float32Array.from({ length }, () => random.normal());
  const inputs = normal(tokens * columns);
  const wanted = normal(rows * columns);
  const targets = scoresOf(native, native.product(inputs, wanted, columns), rows, scores);
  const problem = (ridge: number): RowProblem => ({
    inputs,
    columns,
    targets,
    scores,
    start: normal(rows * columns),
    ridge,
  });

  test("ends where the gradient is zero, and each step is lower than the start", () => {
    const one = problem(0.01);
    const begin = objective(one, one.start);
    for (const steps of [1, 2, 4, 8]) expect(objective(one, rowsAfter(one, steps)).value).toBeLessThan(begin.value);
    expect(objective(one, rowsAfter(one, 400)).steepest).toBeLessThan(1e-3 * begin.steepest);
  });

  test("finds the router that made the scores, and an endless ridge the one of the start", () => {
    const [free, held] = [problem(1e-6), problem(1e6)];
    const made = scoresOf(native, native.product(inputs, rowsAfter(free, 400), columns), rows, scores);
    expect(Math.max(...made.map((value, i) => Math.abs(value - targets[i]!)))).toBeLessThan(5e-3);
    const stayed = rowsAfter(held, 10);
    expect(Math.max(...stayed.map((value, i) => Math.abs(value - held.start[i]!)))).toBeLessThan(1e-4);
  });

  test("both backends take the same steps", () => {
    const one = problem(0.01);
    const [a, b] = [rowsAfter(one, 16), rowsAfter(one, 16, createReferenceBackend("f32"))];
    expect(Math.max(...a.map((value, i) => Math.abs(value - b[i]!)))).toBeLessThan(1e-3);
  });
});

test("the mass of groups", () => {
  // Expert 3 is in no group.
  const groups = [[0, 2], [1]];
  const mass = (values: number[], kind: "softmax" | "sigmoid") =>
    Array.from(groupMass(Float32Array.from(values), 4, groups, kind));
  expect(mass([0.25, 0.25, 0, 0.5], "softmax")).toEqual([0.5, 0.5]);
  expect(mass([0.5, 0.25, 0.75, 0.5], "sigmoid")).toEqual([1, 0.25]);
});

test("biases that choose a group as its members were chosen", () => {
  const before = { scores: Float32Array.of(0.5, 0.25, 0.75, 0.5, 0.5, 0.25), bias: Float32Array.of(0, 1, -0.5) };
  // Token 1: max(0.5, 0.25) and 1.25; token 2: max(0.5, -0.25) and 1.5.
  const now = Float32Array.of(0.25, 0.5, 0.25, 0.25);
  expect(Array.from(groupBias(before, now, [[0, 2], [1]]))).toEqual([0.25, 1]);
});
