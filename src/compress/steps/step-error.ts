import { decode } from "../../checkpoint/dtypes.js";
import type { Tensor } from "../../checkpoint/tensor.js";
import { pickTensorRows } from "../../checkpoint/tensor-rows.js";
import type { Backend } from "../../engine/backend.js";
import { outputError } from "../weights/layer-error.js";
import type { InputSums } from "./input-sums.js";

/** A squared error and what it is a share of. */
export interface Share {
  readonly lost: number;
  readonly of: number;
}

/** What the steps changed in a matrix; of larger ones estimated from `ROWS` rows, evenly spread. */
export interface StepError {
  /** Sum of (w - w')² of the sum of w². */
  readonly weights: Share;
  /** Sum of ||Wx - W'x||² of the sum of ||Wx||² over the inputs, where their Gram matrix is known. */
  readonly outputs?: Share;
}

/** Rows of a matrix that are looked at: all of them would cost as much as GPTQ itself. */
const ROWS = 64;

export function stepError(backend: Backend, before: Tensor, after: Tensor, inputs: InputSums | undefined): StepError {
  const rows = before.shape[0]!;
  const some = Array.from({ length: Math.min(rows, ROWS) }, (_, i) => Math.floor((i * rows) / Math.min(rows, ROWS)));
  const scale = rows / some.length;
  const old = decode(pickTensorRows(before, some));
  const difference = decode(pickTensorRows(after, some)).map((value, i) => old[i]! - value);
  const share = (sum: (values: Float32Array) => number) => ({ lost: scale * sum(difference), of: scale * sum(old) });
  const weights = share((values) => values.reduce((sum, value) => sum + value ** 2, 0));
  const gram = inputs?.gram;
  return gram === undefined ? { weights } : { weights, outputs: share((rows) => outputError(backend, rows, gram)) };
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
