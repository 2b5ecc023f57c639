import type { Backend, ExpertTensors } from "../engine/backend.js";
import type { StoredExperts } from "../model/moe.js";
import { Random } from "../random.js";
import { DecodedExpert } from "./decoded-expert.js";
import { type NeuronWeights, neuronSquares } from "./neurons.js";

/** Number of components, as in the official code. */
const COMPONENTS = 64;
/** Rounds of subspace iteration, as torch.pca_lowrank does by default. */
const ROUNDS = 2;

/**
 * The official code's reduction of neuron weights: unit-length neurons of all experts of a layer, centred, projected on
 * 64 principal axes, each axis multiplied by its singular value. Only distances between the results are used, which do
 * not change under rotation; so B = Qᵀ A serves as projection, where Q is an orthonormal basis of the principal
 * subspace found by randomised subspace iteration (Halko et al. 2011, as torch.pca_lowrank), and no singular value
 * decomposition is needed. Exact where the neurons span at most 64 dimensions.
 *
 * A `[neurons, features]` is never made. Row n is s_n w_n - m for the weights w_n as stored, so that products of A are
 * products of the stored matrices, scaled and shifted afterwards. A round takes axes V to the orthonormalised AᵀA V. With
 * the last ones P = A V = Q R, and B = Qᵀ A = R⁻ᵀ (Pᵀ A), where R is the Cholesky factor of Pᵀ P: each round reads the
 * weights once.
 */
export class PrincipalComponents {
  private readonly decoded = new DecodedExpert();

  private constructor(
    private readonly backend: Backend,
    private readonly mean: Float64Array,
    /** `[COMPONENTS, features]` */
    private readonly projection: Float32Array,
  ) {}

  /** Expert by expert, so that never more than one expert's neurons are in memory. */
  static async of(backend: Backend, experts: StoredExperts, pause: () => Promise<void>): Promise<PrincipalComponents> {
    const { up, gate } = await experts.read(0);
    const [width, hidden] = up.shape as [number, number];
    const parts = gate === undefined ? 2 : 3;
    const features = parts * hidden;
    const mean = new Float64Array(features);
    const scales: Float64Array[] = [];
    const decoded = new DecodedExpert();
    const unitSums = emptyParts(parts, hidden);
    const random = new Random(0);
    let axes: Float32Array = Float32Array.from({ length: COMPONENTS * features }, () => random.normal());
    for (let round = 0; round <= ROUNDS; round++) {
      const sums = emptyParts(parts, hidden * COMPONENTS);
      const gram = new Float64Array(COMPONENTS * COMPONENTS);
      const axesOf = splitAxes(axes, parts);
      // The mean is not known in the first round, and is 0 here: with the neurons as they are the same comes out, since what is
      // taken from their sums below is what the mean has in them.
      const shift = innerWithRows(axes, mean);
      const total = new Float64Array(COMPONENTS);
      for (let e = 0; e < experts.count; e++) {
        const neurons = Neurons.of(backend, decoded.of(await experts.read(e)), scales[e]);
        if (round === 0) {
          scales.push(neurons.scales);
          neurons.addCombinations(unitSums, Float32Array.from(neurons.scales), 1);
        }
        const projected = neurons.project(axesOf, shift);
        backend.addTransposedProduct(gram, projected, projected, COMPONENTS, COMPONENTS);
        for (let i = 0; i < projected.length; i++) total[i % COMPONENTS]! += projected[i]!;
        neurons.addCombinations(sums, scaledRows(projected, neurons.scales), COMPONENTS);
        await pause();
      }
      if (round === 0)
        for (const [i, sum] of rowsOf(unitSums, 1)[0]!.entries()) mean[i] = sum / (experts.count * width);
      const rows = rowsOf(sums, COMPONENTS);
      for (const [k, row] of rows.entries()) for (let i = 0; i < features; i++) row[i]! -= total[k]! * mean[i]!;
      if (round < ROUNDS) gramSchmidt(rows);
      else solveTransposed(gram, rows);
      axes = new Float32Array(COMPONENTS * features);
      for (const [k, row] of rows.entries()) axes.set(row, k * features);
    }
    return new PrincipalComponents(backend, mean, axes);
  }

  /** Reduced neurons of an expert, one column each: `[COMPONENTS, width]`. */
  project(expert: ExpertTensors): Float32Array {
    const [width, hidden] = expert.up.shape as [number, number];
    const shift = innerWithRows(this.projection, this.mean);
    const axesOf = splitAxes(this.projection, this.mean.length / hidden);
    const neurons = Neurons.of(this.backend, this.decoded.of(expert));
    return transpose(neurons.project(axesOf, shift), width);
  }
}

/** Columns of axes `[COMPONENTS, features]` by the parts of a neuron, the last one transposed: `[hidden, COMPONENTS]`. */
function splitAxes(axes: Float32Array, parts: number): Float32Array[] {
  const hidden = axes.length / COMPONENTS / parts;
  return Array.from({ length: parts }, (_, part) => {
    const columns = columnsOf(axes, parts * hidden, part * hidden, hidden);
    return part === parts - 1 ? transpose(columns, COMPONENTS) : columns;
  });
}

/** The neurons of one expert: rows of gate, where it has one, and up, columns of down. */
class Neurons {
  private readonly width: number;
  private readonly hidden: number;

  private constructor(
    private readonly backend: Backend,
    /** Gate and up `[width, hidden]`. */
    private readonly rows: readonly Float32Array[],
    /** `[hidden, width]` */
    private readonly down: Float32Array,
    /** `[width]`: what makes them of unit length; 0 for neurons of zeros. */
    readonly scales: Float64Array,
  ) {
    this.width = scales.length;
    this.hidden = down.length / this.width;
  }

  /** @param scales where they are known */
  static of(backend: Backend, { rows, down, width }: DecodedExpert, scales?: Float64Array): Neurons {
    return new Neurons(backend, rows, down, scales ?? scalesOf(backend, { rows, down, width }));
  }

  /** Unit neurons times axes (`splitAxes`), minus shift `[COMPONENTS]`: `[width, COMPONENTS]`. */
  project(axesOf: readonly Float32Array[], shift: Float64Array): Float32Array {
    const { backend, width, hidden, scales, rows, down } = this;
    // The wider matrix is the second one: the first is transposed.
    const fromDown = new Float64Array(COMPONENTS * width);
    backend.addTransposedProduct(fromDown, axesOf[rows.length]!, down, COMPONENTS, width);
    const products = rows.map((values, part) => backend.product(values, axesOf[part]!, hidden));
    const projected = new Float32Array(width * COMPONENTS);
    for (let row = 0, i = 0; row < width; row++) {
      for (let k = 0; k < COMPONENTS; k++, i++) {
        let sum = fromDown[k * width + row]!;
        for (const product of products) sum += product[i]!;
        projected[i] = scales[row]! * sum - shift[k]!;
      }
    }
    return projected;
  }

  /** Adds to the parts of sums, `[count, hidden]` each, the neurons as stored, times their rows of factors `[width, count]`. */
  addCombinations(sums: readonly Float64Array[], factors: Float32Array, count: number): void {
    const { backend, width, hidden, rows, down } = this;
    for (const [part, values] of rows.entries())
      backend.addTransposedProduct(sums[part]!, factors, values, count, hidden);
    const fromDown = backend.product(down, transpose(factors, width), width);
    const last = sums[rows.length]!;
    for (let i = 0; i < hidden; i++) for (let k = 0; k < count; k++) last[k * hidden + i]! += fromDown[i * count + k]!;
  }
}

function emptyParts(parts: number, size: number): Float64Array[] {
  return Array.from({ length: parts }, () => new Float64Array(size));
}

/** Rows `[features]` of the parts `[count, hidden]`. */
function rowsOf(parts: readonly Float64Array[], count: number): Float64Array[] {
  const hidden = parts[0]!.length / count;
  return Array.from({ length: count }, (_, k) => {
    const row = new Float64Array(parts.length * hidden);
    for (const [part, values] of parts.entries()) row.set(values.subarray(k * hidden, (k + 1) * hidden), part * hidden);
    return row;
  });
}

/** 1 / length of each neuron, 0 for neurons of zeros. */
function scalesOf(backend: Backend, weights: NeuronWeights): Float64Array {
  return neuronSquares(backend, weights).map((square) => (square > 0 ? 1 / Math.sqrt(square) : 0));
}

/** Each row of `[neurons, COMPONENTS]` times its scale. */
function scaledRows(rows: Float32Array, scales: Float64Array): Float32Array {
  const scaled = new Float32Array(rows.length);
  for (const [row, scale] of scales.entries())
    for (let i = row * COMPONENTS; i < (row + 1) * COMPONENTS; i++) scaled[i] = rows[i]! * scale;
  return scaled;
}

/** Columns `[from, from + count)` of values `[rows, columns]`. */
function columnsOf(values: Float32Array, columns: number, from: number, count: number): Float32Array {
  const rows = values.length / columns;
  const out = new Float32Array(rows * count);
  for (let r = 0; r < rows; r++) out.set(values.subarray(r * columns + from, r * columns + from + count), r * count);
  return out;
}

/** Inner products of the rows `[COMPONENTS, features]` with a vector `[features]`. */
function innerWithRows(rows: Float32Array, vector: Float64Array): Float64Array {
  return Float64Array.from({ length: COMPONENTS }, (_, k) => {
    let sum = 0;
    for (let i = 0; i < vector.length; i++) sum += rows[k * vector.length + i]! * vector[i]!;
    return sum;
  });
}

/**
 * Replaces rows S by R⁻ᵀ S for the Cholesky factor R of gram = Rᵀ R. A row that the earlier ones span, as far as float32
 * can tell, becomes zero.
 */
function solveTransposed(gram: Float64Array, rows: readonly Float64Array[]): void {
  const count = rows.length;
  const largest = Math.max(...rows.map((_, k) => gram[k * count + k]!));
  const lower = new Float64Array(count * count);
  for (const [k, row] of rows.entries()) {
    for (let j = 0; j < k; j++) {
      let sum = gram[k * count + j]!;
      for (let i = 0; i < j; i++) sum -= lower[k * count + i]! * lower[j * count + i]!;
      const pivot = lower[j * count + j]!;
      const share = pivot > 0 ? sum / pivot : 0;
      lower[k * count + j] = share;
      const earlier = rows[j]!;
      for (let i = 0; i < row.length; i++) row[i]! -= share * earlier[i]!;
    }
    let left = gram[k * count + k]!;
    for (let j = 0; j < k; j++) left -= lower[k * count + j]! ** 2;
    const pivot = left > 1e-11 * largest ? Math.sqrt(left) : 0;
    lower[k * count + k] = pivot;
    for (let i = 0; i < row.length; i++) row[i]! = pivot > 0 ? row[i]! / pivot : 0;
  }
}

/** Modified Gram-Schmidt, twice for accuracy. A row that the earlier ones span becomes zero. */
function gramSchmidt(rows: readonly Float64Array[]): void {
  for (const [k, row] of rows.entries()) {
    const before = Math.sqrt(inner(row, row));
    for (let pass = 0; pass < 2; pass++) {
      for (const earlier of rows.slice(0, k)) {
        const share = inner(row, earlier);
        for (let i = 0; i < row.length; i++) row[i]! -= share * earlier[i]!;
      }
    }
    const norm = Math.sqrt(inner(row, row));
    const scale = norm > 1e-5 * before ? 1 / norm : 0;
    for (let i = 0; i < row.length; i++) row[i]! *= scale;
  }
}

function inner(a: Float64Array, b: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i]! * b[i]!;
  return sum;
}

/** `[rows, columns]` to `[columns, rows]`. */
function transpose(values: Float32Array, rows: number): Float32Array {
  const columns = values.length / rows;
  const out = new Float32Array(values.length);
  for (let i = 0; i < rows; i++) for (let j = 0; j < columns; j++) out[j * rows + i] = values[i * columns + j]!;
  return out;
}
