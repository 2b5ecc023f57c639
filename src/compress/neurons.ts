import { decode } from "../checkpoint/dtypes.js";
import type { Backend, ExpertTensors } from "../engine/backend.js";

/**
 * The weights of each neuron as a column, [gate row | up row | down column]: `[3 * hidden, width]`, or `[2 * hidden, width]`
 * where there is no gate.
 */
export function neuronColumns(expert: ExpertTensors): Float32Array {
  const [width, hidden] = expert.up.shape as [number, number];
  const inputs = expert.gate === undefined ? [expert.up] : [expert.gate, expert.up];
  const columns = new Float32Array((inputs.length + 1) * hidden * width);
  for (const [part, tensor] of inputs.entries()) {
    const values = decode(tensor);
    const start = part * hidden * width;
    for (let i = 0; i < width; i++) {
      for (let j = 0; j < hidden; j++) columns[start + j * width + i] = values[i * hidden + j]!;
    }
  }
  columns.set(decode(expert.down), inputs.length * hidden * width);
  return columns;
}

/** Euclidean distances between the columns of a and b `[rows, width]`, scaled to unit length first if asked. */
export function neuronDistances(backend: Backend, a: Float32Array, b: Float32Array, width: number, unit: boolean) {
  const cross = new Float64Array(width * width);
  const [squaresOfA, squaresOfB] = [new Float64Array(width), new Float64Array(width)];
  backend.addTransposedProduct(cross, a, b, width, width);
  backend.addColumnSquares(squaresOfA, a);
  backend.addColumnSquares(squaresOfB, b);
  return distances(cross, squaresOfA, squaresOfB, unit);
}

/** ||a_p - b_q|| from inner products and squared lengths. A zero vector stays zero when scaled to unit length. */
export function distances(cross: Float64Array, a: Float64Array, b: Float64Array, unit: boolean): Float64Array {
  const width = a.length;
  const inverse = (squares: Float64Array) => squares.map((value) => (value > 0 ? 1 / Math.sqrt(value) : 0));
  const [scaleA, scaleB] = unit
    ? [inverse(a), inverse(b)]
    : [new Float64Array(width).fill(1), new Float64Array(width).fill(1)];
  const result = new Float64Array(width * width);
  for (let p = 0; p < width; p++) {
    for (let q = 0; q < width; q++) {
      const product = cross[p * width + q]! * scaleA[p]! * scaleB[q]!;
      const squared = a[p]! * scaleA[p]! ** 2 + b[q]! * scaleB[q]! ** 2 - 2 * product;
      result[p * width + q] = Math.sqrt(Math.max(0, squared));
    }
  }
  return result;
}
