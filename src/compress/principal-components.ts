import type { Backend, ExpertTensors } from "../engine/backend.js";
import { Random } from "../random.js";
import { neuronColumns } from "./neurons.js";

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
 */
export class PrincipalComponents {
  private constructor(
    private readonly backend: Backend,
    private readonly mean: Float64Array,
    /** `[COMPONENTS, features]` */
    private readonly projection: Float32Array,
  ) {}

  /** Expert by expert, so that never more than one expert's neurons are in memory. */
  static async of(
    backend: Backend,
    experts: readonly ExpertTensors[],
    pause: () => Promise<void>,
  ): Promise<PrincipalComponents> {
    const [width, hidden] = experts[0]!.up.shape as [number, number];
    const features = (experts[0]!.gate === undefined ? 2 : 3) * hidden;
    const mean = new Float64Array(features);
    for (const expert of experts) {
      const columns = unitColumns(backend, expert);
      for (let feature = 0; feature < features; feature++) {
        let sum = 0;
        for (let i = feature * width; i < (feature + 1) * width; i++) sum += columns[i]!;
        mean[feature]! += sum / (experts.length * width);
      }
      await pause();
    }
    const random = new Random(0);
    let axes: Float32Array = Float32Array.from({ length: COMPONENTS * features }, () => random.normal());
    let basis: Float32Array[] = [];
    for (let round = 0; round <= ROUNDS; round++) {
      const projected: Float32Array[] = [];
      for (const expert of experts) {
        projected.push(project(backend, expert, mean, axes));
        await pause();
      }
      basis = orthonormal(projected);
      const sums = new Float64Array(COMPONENTS * features);
      for (const [e, expert] of experts.entries()) {
        addProjection(backend, sums, basis[e]!, centred(backend, expert, mean), width);
        await pause();
      }
      axes = round < ROUNDS ? transposeOrthonormal(sums, features) : Float32Array.from(sums);
    }
    return new PrincipalComponents(backend, mean, axes);
  }

  /** Reduced neurons of an expert, one column each: `[COMPONENTS, width]`. */
  project(expert: ExpertTensors): Float32Array {
    return project(this.backend, expert, this.mean, this.projection);
  }
}

/** Neurons as columns of unit length: `[features, width]`. */
function unitColumns(backend: Backend, expert: ExpertTensors): Float32Array {
  const columns = neuronColumns(expert);
  const width = expert.up.shape[0]!;
  const scale = new Float64Array(width);
  backend.addColumnSquares(scale, columns);
  for (let i = 0; i < width; i++) scale[i] = scale[i]! > 0 ? 1 / Math.sqrt(scale[i]!) : 0;
  for (let row = 0; row < columns.length; row += width) {
    for (let i = 0; i < width; i++) columns[row + i]! *= scale[i]!;
  }
  return columns;
}

/** Unit columns minus the mean of each feature. */
function centred(backend: Backend, expert: ExpertTensors, mean: Float64Array): Float32Array {
  const columns = unitColumns(backend, expert);
  const width = expert.up.shape[0]!;
  for (const [feature, value] of mean.entries()) {
    for (let i = feature * width; i < (feature + 1) * width; i++) columns[i]! -= value;
  }
  return columns;
}

/** axes `[COMPONENTS, features]` times the centred neurons: `[COMPONENTS, width]`. */
function project(backend: Backend, expert: ExpertTensors, mean: Float64Array, axes: Float32Array): Float32Array {
  const features = mean.length;
  const neurons = transpose(centred(backend, expert, mean), features);
  return backend.product(axes, neurons, features);
}

/** Adds basis `[COMPONENTS, width]` times the neurons' rows `[width, features]` to sums `[COMPONENTS, features]`. */
function addProjection(
  backend: Backend,
  sums: Float64Array,
  basis: Float32Array,
  neurons: Float32Array,
  width: number,
) {
  const part = backend.product(basis, neurons, width);
  for (const [i, value] of part.entries()) sums[i]! += value;
}

/** Rows of `[COMPONENTS, width]` parts, seen as one long row each, made orthonormal. */
function orthonormal(parts: readonly Float32Array[]): Float32Array[] {
  const width = parts[0]!.length / COMPONENTS;
  const rows = Array.from({ length: COMPONENTS }, (_, k) => {
    const row = new Float64Array(parts.length * width);
    for (const [e, part] of parts.entries()) row.set(part.subarray(k * width, (k + 1) * width), e * width);
    return row;
  });
  gramSchmidt(rows);
  return parts.map((_, e) => {
    const part = new Float32Array(COMPONENTS * width);
    for (const [k, row] of rows.entries()) part.set(row.subarray(e * width, (e + 1) * width), k * width);
    return part;
  });
}

function transposeOrthonormal(sums: Float64Array, features: number): Float32Array {
  const rows = Array.from({ length: COMPONENTS }, (_, k) => sums.slice(k * features, (k + 1) * features));
  gramSchmidt(rows);
  const axes = new Float32Array(COMPONENTS * features);
  for (const [k, row] of rows.entries()) axes.set(row, k * features);
  return axes;
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
