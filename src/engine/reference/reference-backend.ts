import { decode, encode } from "../../checkpoint/dtypes.js";
import type { Tensor } from "../../checkpoint/tensor.js";
import type { Backend, Experts, Matrix, Precision } from "../backend.js";
import { ExpertForm } from "../expert-form.js";
import { assignments } from "./assignment.js";
import { attention } from "./attention.js";
import { chooseExperts } from "./choose-experts.js";
import { convolution } from "./convolution.js";
import { deltaRule } from "./delta-rule.js";
import { adamStep, expertGradients } from "./descent.js";
import { combine, gated, layerNorm, rmsNorm, rotate, rotateAt, softmax } from "./elementwise.js";
import * as expertOperations from "./experts.js";
import { addGram, factorGram, outputError } from "./gram.js";
import { attendCached, ReferenceCache } from "./key-value-cache.js";
import { linearAttention } from "./linear-attention.js";
import {
  addColumnSquares,
  addGatedProduct,
  addTransposedProduct,
  dot,
  product,
  rowsOf,
  subtractProduct,
} from "./products.js";
import { largest, round } from "./rounding.js";
import { expand } from "./scaled-codes.js";
import { gptq, solveGram, sparsegpt } from "./solvers.js";
import { zeroSmallest } from "./zero-smallest.js";

class ReferenceMatrix implements Matrix {
  constructor(
    readonly rows: number,
    readonly columns: number,
    readonly values: Float32Array,
  ) {}
  dispose(): void {}
}

/** Values rounded to bfloat16 (round to nearest even), kept in float32. */
function roundToBfloat16(values: Float32Array): Float32Array {
  return decode({ dtype: "BF16", data: encode("BF16", values) });
}

/**
 * The plain TypeScript backend: written to be read. It is the oracle of every kernel test, and what runs where no
 * native binary loads. Sums are accumulated in float64 and rounded once.
 */
export function createReferenceBackend(precision: Precision): Backend {
  /** What the products see of an array: itself, or its values rounded to bfloat16. */
  const input = precision === "bf16" ? roundToBfloat16 : (values: Float32Array) => values;

  const matrix = (weight: Tensor): Matrix => {
    const [rows, columns] = weight.shape;
    if (weight.shape.length !== 2)
      throw new RangeError(`matrix: shape [${weight.shape.join(", ")}] has not 2 dimensions`);
    return new ReferenceMatrix(rows!, columns!, input(decode(weight)));
  };

  const linear = (x: Float32Array, weight: Matrix, bias?: Float32Array): Float32Array => {
    const { values, rows, columns } = weight as ReferenceMatrix;
    const tokens = rowsOf(x, columns, "linear");
    if (bias !== undefined && bias.length !== rows) throw new RangeError("linear: the bias does not fit the matrix");
    const rounded = input(x);
    const out = new Float32Array(tokens * rows);
    for (let t = 0; t < tokens; t++) {
      for (let r = 0; r < rows; r++) {
        out[t * rows + r] = dot(rounded, t * columns, values, r * columns, columns) + (bias?.[r] ?? 0);
      }
    }
    return out;
  };

  return {
    name: "reference",
    precision,
    variant: "typescript",
    description: "plain TypeScript, 1 thread",
    keptBytes: 0,
    matrix,
    linear,
    headLinear: (x, heads) => headLinear(linear, x, heads),
    rmsNorm,
    layerNorm,
    rotate,
    attention,
    rotateAt,
    keyValueCache: (keyValueHeads, headSize, valueSize = headSize) =>
      new ReferenceCache(keyValueHeads, headSize, valueSize, input),
    attendCached: (q, k, v, cache, segments, shape) => attendCached(q, k, v, cache as ReferenceCache, segments, shape),
    convolution,
    deltaRule,
    linearAttention,
    softmax,
    chooseExperts,
    combine,
    gated,
    experts(tensors, activation) {
      const experts = new expertOperations.ReferenceExperts(matrix, ExpertForm.of(tensors[0]), activation);
      for (const expert of tensors) experts.add(expert);
      return experts;
    },
    routed: (x, experts, routing, activations) =>
      expertOperations.routed(linear, x, own(experts), routing, activations),
    expertActivation(x, experts, expert, out) {
      const values = expertOperations.expertActivation(linear, x, own(experts), expert);
      out?.set(values);
      return out ?? values;
    },
    expertDown: (activation, experts, expert) => expertOperations.expertDown(linear, activation, own(experts), expert),
    addGatedActivations: (sums, x, experts, factors) =>
      expertOperations.addGatedActivations(linear, sums, x, own(experts), factors),
    addOutputCosines: (sums, x, experts) => expertOperations.addOutputCosines(linear, sums, x, own(experts)),
    addTransposedProduct,
    addColumnSquares,
    product,
    addGatedProduct,
    subtractProduct,
    expertGradients,
    adamStep,
    assignment: assignments,
    largest,
    round,
    addGram,
    outputError,
    zeroSmallest,
    factorGram,
    solveGram,
    sparsegpt,
    gptq,
    expand,
    addScaled(sums, tensor, factor, permutation) {
      const values = decode(tensor);
      const [rows, columns] = tensor.shape as [number, number];
      if (sums.length !== values.length) throw new RangeError("addScaled: the tensor does not fit the sums");
      for (let i = 0; i < rows; i++) {
        const row = permutation?.axis === "rows" ? permutation.order[i]! : i;
        for (let j = 0; j < columns; j++) {
          const column = permutation?.axis === "columns" ? permutation.order[j]! : j;
          sums[i * columns + j]! += factor * values[row * columns + column]!;
        }
      }
    },
  };
}

/** Each head of x by itself (backend.ts, `headLinear`). */
function headLinear(linear: expertOperations.Linear, x: Float32Array, heads: readonly Matrix[]): Float32Array {
  const count = heads.length;
  if (count === 0) throw new RangeError("headLinear: there are no heads");
  const { rows, columns } = heads[0]!;
  if (heads.some((head) => head.rows !== rows || head.columns !== columns)) {
    throw new RangeError("headLinear: the heads have different shapes");
  }
  const tokens = rowsOf(x, count * columns, "headLinear");
  const out = new Float32Array(tokens * count * rows);
  for (const [h, head] of heads.entries()) {
    const input = new Float32Array(tokens * columns);
    for (let t = 0; t < tokens; t++) {
      const start = (t * count + h) * columns;
      input.set(x.subarray(start, start + columns), t * columns);
    }
    const result = linear(input, head);
    for (let t = 0; t < tokens; t++) out.set(result.subarray(t * rows, (t + 1) * rows), (t * count + h) * rows);
  }
  return out;
}

function own(experts: Experts): expertOperations.ReferenceExperts {
  return experts as expertOperations.ReferenceExperts;
}
