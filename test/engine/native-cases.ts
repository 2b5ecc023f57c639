import { expect } from "vitest";
import { encode } from "../../src/checkpoint/dtypes.js";
import type { DType, Tensor } from "../../src/checkpoint/tensor.js";
import type { Backend, ExpertTensors, Precision } from "../../src/engine/backend.js";
import { createNativeBackend, nativeVariants } from "../../src/engine/native/native-backend.js";
import { createReferenceBackend } from "../../src/engine/reference/reference-backend.js";
import type { Random } from "../../src/random.js";

/** Both backends for every instruction set of this machine and every precision; the native one with two threads. */
export const cases = nativeVariants().flatMap((variant) =>
  (["bf16", "f32"] as const).map((precision) => ({
    variant,
    precision,
    native: createNativeBackend({ precision, variant, threads: 2 }),
    reference: createReferenceBackend(precision),
  })),
);

/** Backends of the same kind with other numbers of threads. */
export function withThreads(variant: string, precision: Precision, counts: readonly number[]): Backend[] {
  return counts.map((threads) => createNativeBackend({ precision, variant, threads }));
}

export function normals(random: Random, length: number): Float32Array {
  return Float32Array.from({ length }, () => random.normal());
}

export function tensorOf(values: Float32Array, rows: number, columns: number, dtype: DType = "F32"): Tensor {
  return { dtype, shape: [rows, columns], data: encode(dtype, values) };
}

export function randomTensor(random: Random, rows: number, columns: number, dtype: DType = "F32"): Tensor {
  return tensorOf(normals(random, rows * columns), rows, columns, dtype);
}

/** Experts whose outputs have about the size of their inputs. */
export function randomExperts(random: Random, count: number, hidden: number, width: number): ExpertTensors[] {
  const weight = (rows: number, columns: number) => {
    const scale = 1 / Math.sqrt(columns);
    const values = normals(random, rows * columns).map((value) => value * scale);
    return tensorOf(values, rows, columns, "BF16");
  };
  return Array.from({ length: count }, () => ({
    gate: weight(width, hidden),
    up: weight(width, hidden),
    down: weight(hidden, width),
  }));
}

/** The same experts without gates. */
export function withoutGates(experts: readonly ExpertTensors[]): ExpertTensors[] {
  return experts.map(({ gate: _, ...others }) => others);
}

/** The same experts with biases of the given kinds, about as large as what they are added to. */
export function withBiases(
  random: Random,
  experts: readonly ExpertTensors[],
  kinds: readonly ("gateBias" | "upBias" | "downBias")[],
  dtype: DType = "BF16",
): ExpertTensors[] {
  const bias = (length: number): Tensor => ({ dtype, shape: [length], data: encode(dtype, normals(random, length)) });
  return experts.map((expert) => {
    const [width, hidden] = expert.up.shape as [number, number];
    return {
      ...expert,
      ...Object.fromEntries(kinds.map((kind) => [kind, bias(kind === "downBias" ? hidden : width)])),
    };
  });
}

/** Expects no difference above `tolerance` times the largest expected magnitude. */
export function expectClose(
  actual: Float32Array | Float64Array,
  expected: Float32Array | Float64Array,
  tolerance: number,
): void {
  expect(actual.length).toBe(expected.length);
  let largest = 0;
  let difference = 0;
  for (const [i, value] of expected.entries()) {
    largest = Math.max(largest, Math.abs(value));
    // Written so that a NaN on either side fails.
    difference = Math.max(difference, Math.abs(actual[i]! - value));
  }
  expect(difference).toBeLessThanOrEqual(tolerance * largest);
}

/** Expects the same bytes. */
export function expectSame(actual: ArrayBufferView, expected: ArrayBufferView): void {
  const bytes = (view: ArrayBufferView) => Buffer.from(view.buffer, view.byteOffset, view.byteLength);
  expect(bytes(actual).equals(bytes(expected))).toBe(true);
}
