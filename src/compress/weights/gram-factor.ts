import type { Backend, GramFactor } from "../../engine/backend.js";
import { ReamError } from "../../errors.js";
import { notFinite } from "../not-finite.js";

export interface FactorOptions {
  /** λ as a share of the mean of H's diagonal: H + λI is factored. */
  readonly damping?: number;
  /** Columns by falling diagonal (GPTQ's activation order) instead of as they come. */
  readonly activationOrder?: boolean;
}

/** Default share of the mean diagonal, as in the code of both papers. */
export const DAMPING = 0.01;

/**
 * Factors a layer's Gram matrix for SparseGPT and GPTQ. Matrices that read the same inputs (gate and up) share the
 * factor: it costs as much as the rest. Dispose of it after the last one.
 *
 * A Gram matrix of zeros, of an expert that no token of the calibration reached, counts as the identity: weights are then
 * pruned by magnitude and rounded to nearest. With damping 0, inputs that were never other than 0 get the mean diagonal.
 *
 * @param gram `[columns, columns]`: H = sum of x xᵀ, of which the upper triangle is read (`Backend.addGram`)
 * @throws ReamError NOT_FINITE; GRAM_SINGULAR where the damping is too small
 */
export function factorGram(
  backend: Backend,
  gram: Float64Array,
  columns: number,
  { damping = DAMPING, activationOrder = false }: FactorOptions = {},
): GramFactor {
  if (gram.length !== columns ** 2) throw new RangeError(`${gram.length} products are not ${columns} x ${columns}`);
  if (!(damping >= 0 && damping < Infinity)) throw new RangeError(`damping of ${damping}`);
  const diagonal = Float64Array.from({ length: columns }, (_, i) => gram[i * columns + i]!);
  const mean = diagonal.reduce((sum, value) => sum + value, 0) / Math.max(1, columns);
  if (!Number.isFinite(mean)) throw notFinite("the Gram matrix of a layer's inputs");
  if (mean === 0) return factorGram(backend, identity(columns), columns, { damping, activationOrder });
  const added = diagonal.map((value) => (value === 0 && damping === 0 ? mean : damping * mean));
  const order = activationOrder ? fallingOrder(diagonal) : undefined;
  const factor = backend.factorGram(gram, added, order);
  if (factor !== undefined) return factor;
  throw new ReamError("GRAM_SINGULAR", `The inputs of a layer are linearly dependent at a damping of ${damping}.`, {
    hint: `Raise the damping (the default is ${DAMPING}), or calibrate with more tokens.`,
  });
}

function identity(size: number): Float64Array {
  const matrix = new Float64Array(size * size);
  for (let i = 0; i < size; i++) matrix[i * size + i] = 1;
  return matrix;
}

/** Indices by falling value, equals as they come. */
function fallingOrder(values: Float64Array): Int32Array {
  return Int32Array.from(values.keys()).sort((a, b) => values[b]! - values[a]! || a - b);
}
