import { codeOf, gridOfRange, type IntegerGrid } from "../../checkpoint/quantised/integer-grid.js";
import type { DType } from "../../checkpoint/tensor.js";
import type { GptqCodes, GramFactor, PruningPattern } from "../backend.js";
import { ReferenceFactor } from "./gram.js";
import { rowsOf } from "./products.js";
import { smallest } from "./zero-smallest.js";

/**
 * One row on its way through the columns. With H = R Rᵀ the squared change of the outputs by d = w - q is ||d R||², whose
 * term j needs d_0 .. d_j only. `updated` is the weight that makes term j zero, given the d before it: what the column
 * holds after the updates of the published loops.
 */
class Row {
  /** By position: what was taken from the weight. */
  readonly taken: Float64Array;
  /** trace(D H Dᵀ) of this row so far. */
  error = 0;

  constructor(
    private readonly factor: ReferenceFactor,
    /** By position. */
    readonly weights: Float64Array,
  ) {
    this.taken = new Float64Array(weights.length);
  }

  updated(position: number): number {
    return this.updatedRun(position, 1)[0]!;
  }

  /** Weights from a position on that make all their terms zero, given what was taken before. */
  updatedRun(start: number, length: number): Float32Array {
    const { r, columns } = this.factor;
    const taken = this.taken.slice(0, start + length);
    for (let j = start; j < start + length; j++) {
      let sum = 0;
      for (let i = 0; i < j; i++) sum += taken[i]! * r[i * columns + j]!;
      taken[j] = -sum / r[j * columns + j]!;
    }
    return Float32Array.from({ length }, (_, k) => this.weights[start + k]! - taken[start + k]!);
  }

  /** Gives a position its final value, in place of its updated one. */
  put(position: number, value: number, updated: number): void {
    const { importance, added } = this.factor;
    const taken = this.weights[position]! - value;
    this.taken[position] = taken;
    // An input that was always 0 has only what was added, and no part in the error.
    if (importance[position] === 0) return;
    this.error += (importance[position]! * (updated - value)) ** 2 - added[position]! * taken ** 2;
  }
}

function rowsThrough(factor: ReferenceFactor, weight: Float32Array, column: (position: number) => number): Row[] {
  const { columns } = factor;
  return Array.from({ length: rowsOf(weight, columns, "weight") }, (_, r) => {
    return new Row(
      factor,
      Float64Array.from({ length: columns }, (_, p) => weight[r * columns + column(p)]!),
    );
  });
}

/** SparseGPT (backend.ts, `sparsegpt`). */
export function sparsegpt(weight: Float32Array, gramFactor: GramFactor, pattern: PruningPattern): { error: number } {
  const factor = own(gramFactor);
  if (factor.order !== undefined) throw new RangeError("sparsegpt: the factor has an order");
  const { columns, importance } = factor;
  const rows = rowsThrough(factor, weight, (position) => position);
  const size = pattern.kind === "blocks" ? pattern.size : pattern.of;
  for (let start = 0, block = 0; start < columns; start += size, block++) {
    const length = Math.min(size, columns - start);
    const scores = rows.map((row) =>
      row.updatedRun(start, length).map((value, k) => Math.abs(value) * Math.fround(importance[start + k]!)),
    );
    const masks = rows.map(() => new Uint8Array(length));
    if (pattern.kind === "blocks") {
      const all = Float32Array.from(scores.flatMap((values) => [...values]));
      for (const i of smallest(all, pattern.counts[block]!)) masks[Math.floor(i / length)]![i % length] = 1;
    } else {
      for (const [r, values] of scores.entries()) for (const i of smallest(values, pattern.zeros)) masks[r]![i] = 1;
    }
    for (const [r, row] of rows.entries()) {
      for (let k = 0; k < length; k++) {
        const updated = row.updated(start + k);
        const value = masks[r]![k] ? 0 : updated;
        row.put(start + k, value, updated);
        weight[r * columns + start + k] = value;
      }
    }
  }
  return { error: sumOfErrors(rows) };
}

/** GPTQ (backend.ts, `gptq`). */
export function gptq(weight: Float32Array, gramFactor: GramFactor, grid: IntegerGrid, scaleDtype: DType): GptqCodes {
  const factor = own(gramFactor);
  const { columns, order } = factor;
  const size = grid.group ?? columns;
  const groups = Math.ceil(columns / size);
  const column = (position: number) => order?.[position] ?? position;
  const rows = rowsThrough(factor, weight, column);
  const codes = new Int8Array(weight.length);
  const scales = new Float32Array(rows.length * groups);
  const zeros = new Int8Array(rows.length * groups);
  for (const [r, row] of rows.entries()) {
    const setGrid = (group: number, values: Float32Array) => {
      const { scale, zero } = gridOfRange(Math.min(...values), Math.max(...values), grid, scaleDtype);
      scales[r * groups + group] = scale;
      zeros[r * groups + group] = zero;
    };
    if (order !== undefined) {
      const values = weight.subarray(r * columns, (r + 1) * columns);
      for (let g = 0; g < groups; g++) setGrid(g, values.subarray(g * size, (g + 1) * size));
    }
    for (let p = 0; p < columns; p++) {
      const group = Math.floor(column(p) / size);
      if (order === undefined && p % size === 0) setGrid(group, row.updatedRun(p, Math.min(size, columns - p)));
      const [scale, zero] = [scales[r * groups + group]!, zeros[r * groups + group]!];
      const updated = row.updated(p);
      const code = codeOf(updated, scale, zero, grid.bits);
      codes[r * columns + column(p)] = code;
      row.put(p, Math.fround(scale * (code - zero)), updated);
    }
  }
  return { codes, scales, zeros, error: sumOfErrors(rows) };
}

/** X with X H = B (backend.ts, `solveGram`): Z Rᵀ = B from the last column to the first, then X R = Z forwards. */
export function solveGram(gramFactor: GramFactor, b: Float32Array): Float32Array {
  const { columns, r, order } = own(gramFactor);
  if (order !== undefined) throw new RangeError("solveGram: the factor has an order");
  const out = new Float32Array(b.length);
  for (let row = 0; row < rowsOf(b, columns, "solveGram"); row++) {
    const x = Float64Array.from(b.subarray(row * columns, (row + 1) * columns));
    for (let j = columns - 1; j >= 0; j--) {
      for (let k = j + 1; k < columns; k++) x[j]! -= x[k]! * r[j * columns + k]!;
      x[j]! /= r[j * columns + j]!;
    }
    for (let j = 0; j < columns; j++) {
      for (let i = 0; i < j; i++) x[j]! -= x[i]! * r[i * columns + j]!;
      x[j]! /= r[j * columns + j]!;
    }
    out.set(x, row * columns);
  }
  return out;
}

/** Not below 0, as rounding could make it. */
function sumOfErrors(rows: readonly Row[]): number {
  return Math.max(
    0,
    rows.reduce((sum, row) => sum + row.error, 0),
  );
}

function own(factor: GramFactor): ReferenceFactor {
  if (factor instanceof ReferenceFactor) return factor;
  throw new RangeError("The factor was made by another backend.");
}
