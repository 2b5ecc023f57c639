import type { Backend } from "../engine/backend.js";
import type { DecodedExpert } from "./decoded-expert.js";

/** Matrices of an expert. Neuron i is row i of gate, where there is one, and up, and column i of down. */
export type NeuronWeights = Pick<DecodedExpert, "rows" | "down" | "width">;

/** Squared lengths of an expert's neurons: `[width]`. */
export function neuronSquares(backend: Backend, { rows, down, width }: NeuronWeights): Float64Array {
  const squares = new Float64Array(width);
  backend.addColumnSquares(squares, down);
  for (const values of rows) {
    const hidden = values.length / width;
    for (let n = 0; n < width; n++) {
      let sum = squares[n]!;
      for (let i = n * hidden; i < (n + 1) * hidden; i++) sum += values[i]! * values[i]!;
      squares[n] = sum;
    }
  }
  return squares;
}

/** Adds the inner products of all neurons of two experts to sums `[width, width]`. */
export function addNeuronProducts(backend: Backend, sums: Float64Array, a: NeuronWeights, b: NeuronWeights): void {
  const { width } = a;
  backend.addTransposedProduct(sums, a.down, b.down, width, width);
  for (const [part, rows] of a.rows.entries()) {
    const products = backend.product(rows, b.rows[part]!, rows.length / width);
    for (let i = 0; i < products.length; i++) sums[i]! += products[i]!;
  }
}

/**
 * Replaces inner products `[width, width]` of vectors a_p and b_q by their distances ||a_p - b_q||.
 *
 * @param a squared lengths of the rows' vectors `[width]`; b: of the columns'
 * @param unit scale all vectors to unit length first; a zero vector stays zero
 */
export function toDistances(products: Float64Array, a: Float64Array, b: Float64Array, unit: boolean): void {
  const width = a.length;
  const scales = (squares: Float64Array) => squares.map((s) => (unit ? (s > 0 ? 1 / Math.sqrt(s) : 0) : 1));
  const [scaleA, scaleB] = [scales(a), scales(b)];
  const scaled = (squares: Float64Array, by: Float64Array) => squares.map((s, i) => s * by[i]! * by[i]!);
  const [lengthA, lengthB] = [scaled(a, scaleA), scaled(b, scaleB)];
  for (let p = 0, i = 0; p < width; p++) {
    const [factor, length] = [2 * scaleA[p]!, lengthA[p]!];
    for (let q = 0; q < width; q++, i++) {
      const squared = length + lengthB[q]! - factor * scaleB[q]! * products[i]!;
      // A number that is not finite stays what it is.
      products[i] = squared < 0 ? 0 : Math.sqrt(squared);
    }
  }
}
