import { decode } from "../../checkpoint/dtypes.js";
import type { Tensor } from "../../checkpoint/tensor.js";
import type { Backend } from "../../engine/backend.js";
import { pickRows } from "../rows.js";
import { outputError } from "../weights/layer-error.js";
import type { InputSums } from "./input-sums.js";

/** A squared error and what it is a share of. */
export interface Share {
  readonly lost: number;
  readonly of: number;
}

/** What the steps changed in a matrix. */
export interface StepError {
  /** Sum of (w - w')² of the sum of w². */
  readonly weights: Share;
  /**
   * Sum of ||Wx - W'x||² of the sum of ||Wx||² over the inputs, where their Gram matrix is known; of larger matrices
   * estimated from `ROWS` rows, evenly spread.
   */
  readonly outputs?: Share;
}

/** Rows of a matrix whose outputs are looked at: all of them would cost as much as GPTQ itself. */
const ROWS = 64;

export function stepError(backend: Backend, before: Tensor, after: Tensor, inputs: InputSums | undefined): StepError {
  const old = decode(before);
  const difference = Float32Array.from(decode(after));
  let lost = 0;
  let of = 0;
  for (let i = 0; i < old.length; i++) {
    difference[i] = old[i]! - difference[i]!;
    lost += difference[i]! ** 2;
    of += old[i]! ** 2;
  }
  const weights = { lost, of };
  const gram = inputs?.gram;
  if (gram === undefined) return { weights };
  const [rows, columns] = before.shape as [number, number];
  const error = (values: Float32Array) => outputError(backend, someRows(values, rows, columns), gram);
  return { weights, outputs: { lost: error(difference), of: error(old) } };
}

/** At most `ROWS` rows of a matrix; all matrices of a layer are cut in the same way, so that sums of them compare. */
function someRows(values: Float32Array, rows: number, columns: number): Float32Array {
  if (rows <= ROWS) return values;
  return pickRows(
    values,
    Array.from({ length: ROWS }, (_, i) => Math.floor((i * rows) / ROWS)),
    columns,
  );
}

export function addShares(a: Share, b: Share): Share {
  return { lost: a.lost + b.lost, of: a.of + b.of };
}

/** Adds the errors of two matrices; what only one of them knows is left out. */
export function addErrors(a: StepError, b: StepError): StepError {
  return {
    weights: addShares(a.weights, b.weights),
    ...(a.outputs && b.outputs && { outputs: addShares(a.outputs, b.outputs) }),
  };
}
