import type { Backend } from "../../../src/engine/backend.js";
import { createNativeBackend } from "../../../src/engine/native/native-backend.js";
import { createReferenceBackend } from "../../../src/engine/reference/reference-backend.js";
import type { Random } from "../../../src/random.js";

/** Both backends; each method has to hold on each. */
export const BACKENDS: readonly (readonly [name: string, backend: Backend])[] = [
  ["reference", createReferenceBackend("f32")],
  ["native", createNativeBackend({ precision: "f32", threads: 2 })],
];

export function normals(random: Random, length: number): Float32Array {
  return Float32Array.from({ length }, () => random.normal());
}

/** Inputs `[tokens, columns]` of a few common causes and noise, some larger than others, as those of layers are. */
export function correlatedInputs(random: Random, tokens: number, columns: number): Float32Array {
  const causes = Math.max(1, Math.floor(columns / 8));
  const mixing = normals(random, causes * columns);
  const sizes = Float32Array.from({ length: columns }, () => Math.exp(random.normal()));
  const x = new Float32Array(tokens * columns);
  for (let t = 0; t < tokens; t++) {
    const cause = normals(random, causes);
    for (let j = 0; j < columns; j++) {
      let sum = 0.3 * random.normal();
      for (let c = 0; c < causes; c++) sum += (cause[c]! * mixing[c * columns + j]!) / Math.sqrt(causes);
      x[t * columns + j] = sum * sizes[j]!;
    }
  }
  return x;
}

/** The upper triangle of xᵀ x. */
export function gramOf(backend: Backend, x: Float32Array, columns: number): Float64Array {
  const gram = new Float64Array(columns * columns);
  backend.addGram(gram, x, columns);
  return gram;
}

/** ||(W - Q) X||² by its definition: outputs of every token, one by one. */
export function squaredOutputs(difference: Float32Array, x: Float32Array, columns: number): number {
  let total = 0;
  for (let t = 0; t < x.length; t += columns) {
    for (let r = 0; r < difference.length; r += columns) {
      let output = 0;
      for (let j = 0; j < columns; j++) output += difference[r + j]! * x[t + j]!;
      total += output ** 2;
    }
  }
  return total;
}

export function minus(a: Float32Array, b: Float32Array): Float32Array {
  return a.map((value, i) => value - b[i]!);
}

export function zerosIn(values: Float32Array): number {
  return values.reduce((count, value) => count + (value === 0 ? 1 : 0), 0);
}
