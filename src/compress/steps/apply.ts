import { decode, encode } from "../../checkpoint/dtypes.js";
import type { QuantisedWeight } from "../../checkpoint/quantised/weight-format.js";
import type { DType, Tensor } from "../../checkpoint/tensor.js";
import type { Backend } from "../../engine/backend.js";
import { gptq } from "../weights/gptq.js";
import { pruneMagnitude } from "../weights/magnitude.js";
import { pruneSparsegpt } from "../weights/sparsegpt.js";
import { pruneWanda } from "../weights/wanda.js";
import type { InputSums } from "./input-sums.js";
import { needOf, type WeightStep } from "./step.js";
import { type StepError, stepError } from "./step-error.js";

export interface StepOptions {
  /** Added to the diagonal of the inputs' Gram matrix, as a share of its mean (GPTQ, SparseGPT). */
  readonly damping: number;
  /** GPTQ rounds the columns with the largest inputs first. */
  readonly activationOrder: boolean;
  /** A matrix that fewer tokens reached is treated without looking at them. */
  readonly leastTokens: number;
}

/** A matrix after the steps. */
export interface SteppedMatrix {
  /** As it is kept: `weight` where it was pruned, the parts of its format where it was quantised. */
  readonly stored: QuantisedWeight;
  /** As later layers see it. */
  readonly values: Tensor;
  readonly error: StepError;
  /** The inputs were too few to be looked at. */
  readonly fellBack: boolean;
}

/**
 * Does the steps to a matrix `[rows, columns]`.
 *
 * @param inputs sums over what it is multiplied with, as far as the steps need them; undefined where nobody saw them
 * @param joined the matrices of the same inputs, this one among them, that servers join to one
 * @param scaleDtype dtype of the model's floats, in which scales are stored
 */
export function applySteps(
  backend: Backend,
  steps: readonly WeightStep[],
  weight: Tensor,
  inputs: InputSums | undefined,
  { scaleDtype, joined, ...options }: StepOptions & { readonly scaleDtype: DType; readonly joined: readonly Tensor[] },
): SteppedMatrix {
  const fellBack = needOf(steps) !== "nothing" && (inputs?.tokens ?? 0) < Math.max(1, options.leastTokens);
  const known = fellBack ? undefined : inputs;
  let tensor = weight;
  let stored: QuantisedWeight | undefined;
  for (const step of steps) {
    if (step.kind === "prune") {
      tensor = prune(backend, step, tensor, known, options);
      stored = new Map([["weight", tensor]]);
    } else {
      stored = quantise(backend, step, tensor, known, { ...options, scaleDtype, joined });
      tensor = step.format.decode(stored, shapeOf(weight), 0, backend);
    }
  }
  if (stored === undefined) throw new TypeError("there is no step");
  return { stored, values: tensor, error: stepError(backend, weight, tensor, known), fellBack };
}

function prune(
  backend: Backend,
  { pruner, sparsity }: WeightStep & { kind: "prune" },
  weight: Tensor,
  inputs: InputSums | undefined,
  { damping }: StepOptions,
): Tensor {
  const values = Float32Array.from(decode(weight));
  const shape = shapeOf(weight);
  if (pruner === "wanda" && inputs !== undefined) {
    pruneWanda(backend, values, shape, inputs.squares ?? diagonal(inputs.gram!, shape[1]), sparsity);
  } else if (pruner === "sparsegpt" && inputs !== undefined) {
    pruneSparsegpt(backend, values, shape, inputs.factor({ damping }), sparsity);
  } else {
    pruneMagnitude(backend, values, shape, sparsity);
  }
  return { dtype: weight.dtype, shape: weight.shape, data: encode(weight.dtype, values) };
}

function quantise(
  backend: Backend,
  { solver, format }: WeightStep & { kind: "quantise" },
  weight: Tensor,
  inputs: InputSums | undefined,
  {
    damping,
    activationOrder,
    scaleDtype,
    joined,
  }: StepOptions & { readonly scaleDtype: DType; readonly joined: readonly Tensor[] },
): QuantisedWeight {
  if (solver === "nearest" || inputs === undefined) {
    const largest = format.joint ? Math.max(...joined.map((one) => backend.largest(one))) : undefined;
    return format.encode(backend, weight, scaleDtype, largest);
  }
  const factor = inputs.factor({ damping, activationOrder });
  const codes = gptq(backend, decode(weight), shapeOf(weight), factor, { grid: format.integers!, scaleDtype });
  return format.pack!(codes, scaleDtype);
}

function diagonal(gram: Float64Array, columns: number): Float64Array {
  return Float64Array.from({ length: columns }, (_, i) => gram[i * columns + i]!);
}

function shapeOf({ shape }: Tensor): [number, number] {
  return [shape[0]!, shape[1]!];
}
