import type { Backend } from "../../engine/backend.js";
import type { ScaledCodes } from "../../engine/scaled-codes.js";
import { decode, decodeIntegers, encode } from "../dtypes.js";
import type { DType, Tensor } from "../tensor.js";
import type { IntegerCodes, IntegerGrid } from "./integer-grid.js";
import { packColumns, packedWords, packRows, unpackColumns, unpackRows } from "./integer-packing.js";
import { assemble, expanded, expectFinite, expectRows, partOf, scalesOf } from "./parts.js";
import type { MatrixShape, QuantisedWeight, StoredPart, WeightFamily, WeightStorage } from "./weight-format.js";

/**
 * `pack-quantized`: integers of 4 or 8 bits in words of 32 (integer-packing.ts), `weight_packed` `[rows, words]`; scales
 * `[rows, groups]`; zero points, packed along the rows, `[words, groups]`; `weight_shape`, the matrix's. A value is
 * (code - zero) * scale, rounded to the dtype of the scales.
 */
export function packedIntegers(integers: IntegerGrid): WeightFamily {
  const { bits, group, symmetric } = integers;
  const groupsOf = (columns: number) => (group === undefined ? 1 : columns / group);
  const refusal = ([, columns]: MatrixShape) => groupRefusal(columns, group);
  const stored = ([rows, columns]: MatrixShape, scaleDtype: DType): StoredPart[] => [
    { suffix: "weight_packed", dtype: "I32", shape: [rows, packedWords(columns, bits)] },
    { suffix: "weight_scale", dtype: scaleDtype, shape: [rows, groupsOf(columns)] },
    { suffix: "weight_shape", dtype: "I64", shape: [2] },
    ...(symmetric
      ? []
      : [{ suffix: "weight_zero_point", dtype: "I32", shape: [packedWords(rows, bits), groupsOf(columns)] } as const]),
  ];
  const assembled = (shape: MatrixShape, dtype: DType, codes: Uint8Array, scales: Uint8Array, zeros?: Int8Array) => {
    const packed = zeros === undefined ? [] : [packColumns(zeros, shape[0], groupsOf(shape[1]), bits)];
    return assemble(stored(shape, dtype), [codes, scales, encode("I64", Float32Array.from(shape)), ...packed]);
  };
  return {
    storage: "pack-quantized",
    codes: "weight_packed",
    shapeOf: ([rows, words]) => [rows, (words * 32) / bits],
    integers,
    weights: integerArguments(integers),
    stored,
    refusal,
    encode(backend, weight, scaleDtype) {
      const shape = weight.shape as [number, number];
      const { codes, scales, zeros } = roundedIntegers(backend, weight, integers, scaleDtype);
      return assembled(shape, scaleDtype, codes, scales, zeros);
    },
    pack(given: IntegerCodes, scaleDtype) {
      const { rows, columns, codes, scales, zeros, groupOfColumn } = given;
      if ((zeros === undefined) !== symmetric) throw new RangeError("zero points do not fit the format");
      const packed = packRows(codes, rows, columns, bits);
      const parts = assembled([rows, columns], scaleDtype, packed, encode(scaleDtype, scales), zeros);
      if (groupOfColumn === undefined) return parts;
      const data = new Uint8Array(groupOfColumn.slice().buffer);
      return new Map([...parts, ["weight_g_idx", { dtype: "I32", shape: [columns], data }]]);
    },
    decode(parts, [rows, columns], firstRow = 0, backend) {
      const packed = partOf(parts, "weight_packed", "I32");
      expectRows(packed, "weight_packed", rows, packedWords(columns, bits));
      const groups = groupsOf(columns);
      const scales = scalesOf(parts);
      expectRows(scales, "weight_scale", firstRow + rows, groups);
      const zeros = symmetric ? undefined : packedZeros(parts, scales.shape[0]!, groups, bits);
      const kind = bits === 4 ? "int4" : "uint8";
      const codes = { kind, codes: packed.data, rows, columns, firstRow, dtype: scales.dtype } as const;
      const grouped = { block: [1, columns / groups], factors: decode(scales), zeros } as const;
      return expanded({ ...codes, ...byColumns(parts, columns, groups, grouped) }, backend);
    },
  };
}

/**
 * `int-quantized` and its like: int8 `weight` `[rows, columns]` as they are, scales `[rows, groups]`, zero points int8 of
 * the same shape.
 */
export function plainIntegers(grid: IntegerGrid, storage: string): WeightStorage {
  const { group, symmetric } = grid;
  const groupsOf = (columns: number) => (group === undefined ? 1 : columns / group);
  const stored: WeightStorage["stored"] = ([rows, columns], scaleDtype) => [
    { suffix: "weight", dtype: "I8", shape: [rows, columns] },
    { suffix: "weight_scale", dtype: scaleDtype, shape: [rows, groupsOf(columns)] },
    ...(symmetric ? [] : [{ suffix: "weight_zero_point", dtype: "I8", shape: [rows, groupsOf(columns)] } as const]),
  ];
  return {
    storage,
    codes: "weight",
    shapeOf: (shape) => shape,
    refusal: ([, columns]) => groupRefusal(columns, group),
    stored,
    encode(backend, weight, scaleDtype) {
      const [rows, columns] = weight.shape as [number, number];
      const { codes, scales, zeros } = roundedIntegers(backend, weight, grid, scaleDtype);
      const data = bytesOf(unpackRows(codes, rows, columns, grid.bits));
      return assemble(stored([rows, columns], scaleDtype), [data, scales, ...(zeros ? [bytesOf(zeros)] : [])]);
    },
    decode(parts, [rows, columns], firstRow = 0, backend) {
      const weight = partOf(parts, "weight", "I8");
      expectRows(weight, "weight", rows, columns);
      const groups = groupsOf(columns);
      const scales = scalesOf(parts);
      expectRows(scales, "weight_scale", firstRow + rows, groups);
      const zeros = symmetric ? undefined : signed(partOf(parts, "weight_zero_point", "I8").data);
      const codes = { kind: "int8", codes: weight.data, rows, columns, firstRow, dtype: scales.dtype } as const;
      return expanded({ ...codes, block: [1, columns / groups], factors: decode(scales), zeros }, backend);
    },
  };
}

/** A matrix rounded to integers, its scales checked: a group that does not fit the columns is a `RangeError`. */
export function roundedIntegers(backend: Backend, weight: Tensor, grid: IntegerGrid, scaleDtype: DType) {
  const refused = groupRefusal(weight.shape[1]!, grid.group);
  if (refused !== undefined) throw new RangeError(refused);
  const rounded = backend.round(weight, { kind: "integers", grid, scaleDtype });
  expectFinite(scaleDtype, rounded.scales);
  return rounded;
}

/** Why columns are no groups of this size; undefined: they are. */
export function groupRefusal(columns: number, group: number | undefined): string | undefined {
  if (group === undefined || columns % group === 0) return undefined;
  return `${columns} columns are no multiple of the group of ${group}`;
}

/** What the codes of a matrix are scaled by. */
type Scaling = Pick<ScaledCodes, "block" | "factors" | "zeros">;

/** Where columns have groups in an order of their own, each column's scale and zero point; else those of the groups. */
function byColumns(parts: QuantisedWeight, columns: number, groups: number, grouped: Scaling): Scaling {
  const groupOf = groupsOfColumns(parts, columns, groups);
  if (groupOf === undefined) return grouped;
  const rows = grouped.factors.length / groups;
  const factors = new Float32Array(rows * columns);
  const zeros = grouped.zeros && new Int8Array(rows * columns);
  for (let row = 0; row < rows; row++) {
    for (const [column, group] of groupOf.entries()) {
      factors[row * columns + column] = grouped.factors[row * groups + group]!;
      if (zeros !== undefined) zeros[row * columns + column] = grouped.zeros![row * groups + group]!;
    }
  }
  return { block: [1, 1], factors, zeros };
}

function packedZeros(parts: QuantisedWeight, rows: number, groups: number, bits: 4 | 8): Int8Array {
  const zeros = partOf(parts, "weight_zero_point", "I32");
  expectRows(zeros, "weight_zero_point", packedWords(rows, bits), groups);
  return unpackColumns(zeros.data, rows, groups, bits);
}

/** The group of each column where they are in an order of their own, which older llm-compressor wrote. */
function groupsOfColumns(parts: QuantisedWeight, columns: number, groups: number): Int32Array | undefined {
  if (!parts.has("weight_g_idx")) return undefined;
  const indices = partOf(parts, "weight_g_idx", "I32", "I64");
  expectRows(indices, "weight_g_idx", columns);
  const found = decodeIntegers(indices);
  const outside = found.find((group) => group < 0 || group >= groups);
  if (outside !== undefined) throw new RangeError(`weight_g_idx says group ${outside} of ${groups}`);
  return found;
}

function bytesOf({ buffer, byteOffset, byteLength }: Int8Array): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength);
}

function signed(data: Uint8Array): Int8Array {
  return new Int8Array(data.buffer, data.byteOffset, data.byteLength);
}

function integerArguments({ bits, group, symmetric }: IntegerGrid): Readonly<Record<string, unknown>> {
  return {
    num_bits: bits,
    type: "int",
    symmetric,
    group_size: group ?? null,
    strategy: group === undefined ? "channel" : "group",
    dynamic: false,
  };
}
