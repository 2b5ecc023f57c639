import { decode } from "../checkpoint/dtypes.js";
import type { WeightFormat } from "../checkpoint/quantised/weight-format.js";
import type { Tensor } from "../checkpoint/tensor.js";
import type { Backend } from "../engine/backend.js";
import { isMoe } from "../model/description.js";
import { EXPERT_PARTS } from "../model/expert-storage.js";
import type { OpenedModel } from "../pipeline/open-model.js";
import { Random } from "../random.js";

/** What the error of a weight format is measured with. */
export type Rounding = Pick<WeightFormat, "refusal" | "encode" | "decode">;

/** The error of a format on sampled experts. */
export interface RoundingError {
  /**
   * Sum over gate, up and down of ||Q - W||^2 / ||W||^2, the mean over the experts: to first order, and with errors that do
   * not depend on the inputs, the squared error of an expert's output relative to its size.
   */
  readonly error: number;
  readonly standardError: number | undefined;
}

/**
 * Rounds the matrices of `count` experts, drawn with a seed from all layers, to the nearest values of each format. A matrix
 * that a format refuses stays as it is, without an error. Errors: those of reading experts.
 */
export async function roundingErrors<Name extends string>(
  { checkpoint, model }: Pick<OpenedModel, "checkpoint" | "model">,
  backend: Backend,
  formats: ReadonlyMap<Name, Rounding>,
  { count, seed, signal }: { readonly count: number; readonly seed: number; readonly signal?: AbortSignal | undefined },
): Promise<Map<Name, RoundingError>> {
  const layers = model.layers.filter(isMoe);
  const order = new Random(seed).permutation(layers.length * model.experts).subarray(0, count);
  const errors = new Map<Name, number[]>();
  for (const index of order) {
    signal?.throwIfAborted();
    const { experts } = layers[index % layers.length]!.feedForward;
    const read = await experts.read(checkpoint, Math.floor(index / layers.length));
    for (const [name, format] of formats) {
      const parts = (experts.parts ?? EXPERT_PARTS).map((part) => relativeError(format, backend, read[part]!));
      const total = parts.reduce((sum, error) => sum + error, 0);
      errors.set(name, [...(errors.get(name) ?? []), total]);
    }
  }
  return new Map([...errors].map(([name, values]) => [name, summarised(values)]));
}

/** ||Q - W||^2 / ||W||^2 */
function relativeError(format: Rounding, backend: Backend, weight: Tensor): number {
  const shape = weight.shape as [number, number];
  if (format.refusal(shape) !== undefined) return 0;
  const values = decode(weight);
  const rounded = decode(format.decode(format.encode(backend, weight, weight.dtype), shape));
  let [error, size] = [0, 0];
  for (let i = 0; i < values.length; i++) {
    error += (rounded[i]! - values[i]!) ** 2;
    size += values[i]! ** 2;
  }
  return size === 0 ? 0 : error / size;
}

function summarised(values: readonly number[]): RoundingError {
  const n = values.length;
  const error = values.reduce((sum, value) => sum + value, 0) / n;
  if (n < 2) return { error, standardError: undefined };
  const squares = values.reduce((sum, value) => sum + (value - error) ** 2, 0);
  return { error, standardError: Math.sqrt(squares / (n - 1) / n) };
}
