import { decode, decodeIntegers as decodeStoredIntegers, encode } from "../dtypes.js";
import type { DType, Tensor } from "../tensor.js";
import type { IntegerCodes, IntegerGrid } from "./integer-grid.js";
import { packColumns, packedWords, packRows, unpackColumns, unpackRows } from "./integer-packing.js";
import { assemble, expectFinite, expectRows, finished, partOf, scalesOf } from "./parts.js";
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
      const refused = refusal(shape);
      if (refused !== undefined) throw new RangeError(refused);
      const { codes, scales, zeros } = backend.round(weight, { kind: "integers", grid: integers, scaleDtype });
      expectFinite(scaleDtype, scales);
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
    decode(parts, shape, firstRow = 0) {
      const [rows, columns] = shape;
      const packed = partOf(parts, "weight_packed", "I32");
      expectRows(packed, "weight_packed", rows, packedWords(columns, bits));
      const scales = scalesOf(parts);
      const zeros = symmetric ? undefined : packedZeros(parts, scales.shape[0]!, groupsOf(columns), bits);
      return decodeIntegers(unpackRows(packed.data, rows, columns, bits), shape, {
        ...{ scales, zeros, groups: groupsOf(columns), firstRow },
        groupOfColumn: groupsOfColumns(parts, columns, groupsOf(columns)),
      });
    },
  };
}

/**
 * `int-quantized` and its like: int8 `weight` `[rows, columns]` as they are, scales `[rows, groups]`, zero points int8 of
 * the same shape.
 */
export function plainIntegers({ group, symmetric }: IntegerGrid, storage: string): WeightStorage {
  const groupsOf = (columns: number) => (group === undefined ? 1 : columns / group);
  return {
    storage,
    codes: "weight",
    shapeOf: (shape) => shape,
    refusal: ([, columns]) => groupRefusal(columns, group),
    stored: ([rows, columns], scaleDtype) => [
      { suffix: "weight", dtype: "I8", shape: [rows, columns] },
      { suffix: "weight_scale", dtype: scaleDtype, shape: [rows, groupsOf(columns)] },
      ...(symmetric ? [] : [{ suffix: "weight_zero_point", dtype: "I8", shape: [rows, groupsOf(columns)] } as const]),
    ],
    decode(parts, shape, firstRow = 0) {
      const [rows, columns] = shape;
      const weight = partOf(parts, "weight", "I8");
      expectRows(weight, "weight", rows, columns);
      const zeros = symmetric ? undefined : partOf(parts, "weight_zero_point", "I8");
      if (zeros !== undefined) expectRows(zeros, "weight_zero_point", firstRow + rows, groupsOf(columns));
      return decodeIntegers(signed(weight.data), shape, {
        ...{ scales: scalesOf(parts), zeros: zeros && signed(zeros.data), groups: groupsOf(columns), firstRow },
      });
    },
  };
}

/** Why columns are no groups of this size; undefined: they are. */
export function groupRefusal(columns: number, group: number | undefined): string | undefined {
  if (group === undefined || columns % group === 0) return undefined;
  return `${columns} columns are no multiple of the group of ${group}`;
}

/** What belongs to codes of which the first row is `firstRow` of the matrix. */
interface IntegerScales {
  /** `[rows of the matrix, groups]` */
  readonly scales: Tensor;
  /** `[rows of the matrix, groups]` */
  readonly zeros: Int8Array | undefined;
  readonly groups: number;
  readonly firstRow: number;
  readonly groupOfColumn?: Int32Array | undefined;
}

/** (code - zero) * scale, rounded to the dtype of the scales. */
function decodeIntegers(codes: Int8Array, shape: MatrixShape, of: IntegerScales): Tensor {
  const [rows, columns] = shape;
  const { scales, zeros, groups, firstRow, groupOfColumn } = of;
  expectRows(scales, "weight_scale", firstRow + rows, groups);
  const factors = decode(scales);
  const values = new Float32Array(codes.length);
  const size = columns / groups;
  for (let row = 0; row < rows; row++) {
    const first = (firstRow + row) * groups;
    const start = row * columns;
    if (groupOfColumn !== undefined) {
      for (let column = 0; column < columns; column++) {
        const group = first + groupOfColumn[column]!;
        values[start + column] = (codes[start + column]! - (zeros?.[group] ?? 0)) * factors[group]!;
      }
      continue;
    }
    for (let group = 0; group < groups; group++) {
      const factor = factors[first + group]!;
      const zero = zeros?.[first + group] ?? 0;
      const end = start + (group + 1) * size;
      for (let i = start + group * size; i < end; i++) values[i] = (codes[i]! - zero) * factor;
    }
  }
  return finished(scales.dtype, values, shape, firstRow);
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
  const found = decodeStoredIntegers(indices);
  const outside = found.find((group) => group < 0 || group >= groups);
  if (outside !== undefined) throw new RangeError(`weight_g_idx says group ${outside} of ${groups}`);
  return found;
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
