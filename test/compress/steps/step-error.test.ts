import { expect, test } from "vitest";
import { encode } from "../../../src/checkpoint/dtypes.js";
import type { Tensor } from "../../../src/checkpoint/tensor.js";
import { InputSums } from "../../../src/compress/steps/input-sums.js";
import { addErrors, stepError } from "../../../src/compress/steps/step-error.js";
import { Random } from "../../../src/random.js";
import { BACKENDS } from "../../support/backends.js";

const random = new Random(1);
const normals = (length: number) => Float32Array.from({ length }, () => random.normal());

function matrix(values: Float32Array, columns: number): Tensor {
  return { dtype: "F32", shape: [values.length / columns, columns], data: encode("F32", values) };
}

/** Sums of squares of W x over the rows x. */
function outputs(weight: Float32Array, x: Float32Array, columns: number): number {
  let total = 0;
  for (let t = 0; t < x.length; t += columns) {
    for (let r = 0; r < weight.length; r += columns) {
      let sum = 0;
      for (let i = 0; i < columns; i++) sum += weight[r + i]! * x[t + i]!;
      total += sum ** 2;
    }
  }
  return total;
}

test.each(Object.entries(BACKENDS))("%s: errors are those of the outputs, token by token", (_, make) => {
  const backend = make("f32");
  const [rows, columns] = [20, 12];
  const [before, after, x] = [normals(rows * columns), normals(rows * columns), normals(30 * columns)];
  const sums = new InputSums(backend, columns, "gram");
  // What an expert before it left is gone.
  sums.add(normals(7 * columns));
  sums.reset();
  sums.add(x.subarray(0, 10 * columns));
  sums.add(x.subarray(10 * columns));
  const error = stepError(backend, matrix(before, columns), matrix(after, columns), sums);
  const difference = before.map((value, i) => value - after[i]!);
  const squares = (values: Float32Array) => values.reduce((sum, value) => sum + value ** 2, 0);
  expect(error.weights.lost).toBeCloseTo(squares(difference), 3);
  expect(error.weights.of).toBeCloseTo(squares(before), 3);
  expect(error.outputs!.lost / outputs(difference, x, columns)).toBeCloseTo(1, 5);
  expect(error.outputs!.of / outputs(before, x, columns)).toBeCloseTo(1, 5);
  const both = addErrors(error, error);
  expect(both.outputs!.lost).toBe(2 * error.outputs!.lost);
});

test("of many rows some are enough for an estimate of all", () => {
  const backend = BACKENDS.native!("f32");
  const [rows, columns] = [1000, 40];
  const [before, noise] = [normals(rows * columns), normals(rows * columns)];
  const after = before.map((value, i) => value + 0.1 * noise[i]!);
  const { weights, outputs: none } = stepError(backend, matrix(before, columns), matrix(after, columns), undefined);
  expect(none).toBeUndefined();
  expect(weights.lost / weights.of).toBeCloseTo(0.01, 2);
  expect(weights.of / (rows * columns)).toBeCloseTo(1, 0);
});

test("squares alone are kept where nothing else is asked for, and padding is left out", () => {
  const backend = BACKENDS.native!("f32");
  const sums = new InputSums(backend, 2, "squares");
  sums.add(Float32Array.of(1, 2, 30, 40, 3, 4), Uint8Array.of(1, 0, 1));
  expect(sums.tokens).toBe(2);
  expect([...sums.squares!]).toEqual([10, 20]);
  expect(sums.gram).toBeUndefined();
});
