import type { Backend } from "../../engine/backend.js";

/**
 * Sum over tokens of the squared change of a layer's outputs, ||D X||² = trace(D H Dᵀ), in float64.
 *
 * @param difference `[rows, columns]`: D, what was taken from the weights
 * @param gram `[columns, columns]`: H = sum of x xᵀ, of which the upper triangle is read (`Backend.addGram`)
 */
export function outputError(backend: Backend, difference: Float32Array, gram: Float64Array): number {
  return backend.outputError(difference, gram);
}
