import { decode, encode } from "../../checkpoint/dtypes.js";
import { e2m1Code, NVFP4_GROUP } from "../../checkpoint/quantised/e2m1.js";
import { scaleGrid } from "../../checkpoint/quantised/fp8-blocks.js";
import { codeOf, gridOfRange, type IntegerGrid, scaleOf } from "../../checkpoint/quantised/integer-grid.js";
import { packRows } from "../../checkpoint/quantised/integer-packing.js";
import { MXFP4_GROUP } from "../../checkpoint/quantised/mxfp4.js";
import type { DType, Tensor } from "../../checkpoint/tensor.js";
import type { RoundedMatrix, Rounding } from "../rounding.js";

/** Rounds a matrix `[rows, columns]` to nearest (backend.ts, `round`). */
export function round(weight: Tensor, rounding: Rounding): RoundedMatrix {
  const [rows, columns] = weight.shape as [number, number];
  if (weight.shape.length !== 2) throw new RangeError(`round: shape [${weight.shape.join(", ")}] has not 2 dimensions`);
  const values = decode(weight);
  switch (rounding.kind) {
    case "integers":
      return integers(values, rows, columns, rounding.grid, rounding.scaleDtype);
    case "e4m3":
      return e4m3(values, rows, columns, rounding);
    case "mxfp4":
      return halves(values, columns, MXFP4_GROUP, (largest) => {
        const exponent = mxfp4Exponent(largest);
        return { scale: exponent, step: 2 ** (exponent - 127) };
      });
    case "nvfp4": {
      const { globalScale } = rounding;
      return halves(values, columns, NVFP4_GROUP, (largest) => {
        const local = Math.fround(Math.fround(largest / 6) * globalScale);
        // 0.125 where it would be 0, so that it can be divided by.
        const [scale] = encode("F8_E4M3", Float32Array.of(Math.min(local, 448)));
        const code = scale === 0 ? 0x20 : scale!;
        return {
          scale: code,
          step: Math.fround(decode({ dtype: "F8_E4M3", data: Uint8Array.of(code) })[0]! / globalScale),
        };
      });
    }
  }
}

/** The greatest magnitude of a tensor's numbers; NaN where one of them is. */
export function largest(weight: Tensor): number {
  return largestOf(decode(weight));
}

function integers(values: Float32Array, rows: number, columns: number, grid: IntegerGrid, dtype: DType): RoundedMatrix {
  const size = groupSize(columns, grid.group ?? columns);
  const scales = new Float32Array(values.length / size);
  const zeros = new Int8Array(scales.length);
  const codes = new Int8Array(values.length);
  for (let group = 0; group < scales.length; group++) {
    const part = values.subarray(group * size, (group + 1) * size);
    const { scale, zero } = gridOfRange(part.reduce(least), part.reduce(greatest), grid, dtype);
    scales[group] = scale;
    zeros[group] = zero;
    for (const [i, value] of part.entries()) codes[group * size + i] = codeOf(value, scale, zero, grid.bits);
  }
  return {
    codes: packRows(codes, rows, columns, grid.bits),
    scales: encode(dtype, scales),
    zeros: grid.symmetric ? undefined : zeros,
  };
}

function e4m3(
  values: Float32Array,
  rows: number,
  columns: number,
  { block, scaleDtype: dtype, powersOfTwo = false }: Rounding & { readonly kind: "e4m3" },
): RoundedMatrix {
  const [gridRows, gridColumns] = scaleGrid([rows, columns], block);
  const scales = new Float32Array(gridRows * gridColumns);
  const blockOf = (i: number) =>
    Math.floor(Math.floor(i / columns) / block[0]) * gridColumns + Math.floor((i % columns) / block[1]);
  for (const [i, value] of values.entries()) scales[blockOf(i)] = greatest(scales[blockOf(i)]!, Math.abs(value));
  for (const [i, magnitude] of scales.entries()) {
    const scale = scaleOf(magnitude, 448, dtype);
    scales[i] = powersOfTwo ? powerOfTwoAbove(scale) : scale;
  }
  const scaled = values.map((value, i) => Math.max(-448, Math.min(448, Math.fround(value / scales[blockOf(i)]!))));
  return { codes: encode("F8_E4M3", scaled), scales: encode(dtype, scales) };
}

/** The smallest power of two that is not less than a positive number; itself where it is not finite. */
function powerOfTwoAbove(value: number): number {
  if (!Number.isFinite(value)) return value;
  const power = 2 ** Math.floor(Math.log2(value));
  return power < value ? 2 * power : power;
}

/** E2M1 codes and a byte of scale for each group; `scaleOfGroup` makes the byte, and what it means, of a magnitude. */
function halves(
  values: Float32Array,
  columns: number,
  group: number,
  scaleOfGroup: (largest: number) => { scale: number; step: number },
): RoundedMatrix {
  groupSize(columns, group);
  const scales = new Uint8Array(values.length / group);
  const codes = new Uint8Array(values.length / 2);
  for (let g = 0; g < scales.length; g++) {
    const part = values.subarray(g * group, (g + 1) * group);
    const { scale, step } = scaleOfGroup(largestOf(part));
    scales[g] = scale;
    for (const [j, value] of part.entries()) {
      const i = g * group + j;
      codes[i >> 1]! |= e2m1Code(Math.fround(value / step)) << (4 * (i & 1));
    }
  }
  return { codes, scales };
}

/**
 * E8M0 scale of a group: the power of two of its largest magnitude, which counts as the next one from 1.75 times on,
 * less that of 4, the power of two of the largest code (`generate_mx_scales` of compressed-tensors).
 */
function mxfp4Exponent(largest: number): number {
  if (!Number.isFinite(largest)) return 255;
  const exponent = Math.floor(Math.log2(largest));
  return Math.max(0, exponent + (largest / 2 ** exponent >= 1.75 ? 1 : 0) - 2 + 127);
}

function groupSize(columns: number, group: number): number {
  if (columns % group === 0) return group;
  throw new RangeError(`round: ${columns} columns are no groups of ${group}`);
}

const least = (a: number, b: number) => Math.min(a, b);
const greatest = (a: number, b: number) => Math.max(a, b);

function largestOf(values: Float32Array): number {
  return values.reduce((largest, value) => greatest(largest, Math.abs(value)), 0);
}
