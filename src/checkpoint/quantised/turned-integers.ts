import { decode, decodeIntegers, encode } from "../dtypes.js";
import type { DType, Tensor } from "../tensor.js";
import { transposed } from "../tensor-layout.js";
import { codeOf, type IntegerCodes, scaleOf } from "./integer-grid.js";
import { packColumns, packRows, unpackRows } from "./integer-packing.js";
import { roundedIntegers } from "./integers.js";
import { assemble, expanded, expectRows, partOf, scalesOf } from "./parts.js";
import type { MatrixShape, QuantisedWeight, WeightStorage } from "./weight-format.js";

/** What the storages of GPTQ and AWQ differ in. */
export interface TurnedIntegers {
  readonly storage: "gptq" | "awq";
  readonly bits: 4 | 8;
  /** Columns that share a scale; undefined: all. */
  readonly group: number | undefined;
  /** Added to the zero points that are stored: 1 in GPTQ's first format, which stores them less 1. */
  readonly zeroOffset: number;
  /** Whether all zero points are the middle of the codes, in what is written. */
  readonly symmetric: boolean;
}

/** Which of the 8 codes of a word is that of output i (AWQ's `gemm`). */
const AWQ_ORDER = [0, 4, 1, 5, 2, 6, 3, 7];

/**
 * The transposed integers of AutoGPTQ and AutoAWQ: `qweight` in words of 32 bits, of the inputs
 * `[columns * bits / 32, rows]` in GPTQ, of the outputs `[columns, rows * bits / 32]` in AWQ, there in an order of their own;
 * `qzeros` `[groups, rows * bits / 32]` in words of the outputs; `scales` `[groups, rows]`; GPTQ's `g_idx` `[columns]` says the
 * group of each column. A value is (code - zero) * scale, rounded to the dtype of the scales.
 */
export function turnedIntegers({ storage, bits, group, zeroOffset, symmetric }: TurnedIntegers): WeightStorage {
  const perWord = 32 / bits;
  const byInputs = storage === "gptq";
  const order = byInputs ? undefined : AWQ_ORDER;
  const groupsOf = (columns: number) => (group === undefined ? 1 : Math.ceil(columns / group));
  const stored: WeightStorage["stored"] = ([rows, columns], scaleDtype) => [
    { suffix: "qweight", dtype: "I32", shape: byInputs ? [columns / perWord, rows] : [columns, rows / perWord] },
    { suffix: "qzeros", dtype: "I32", shape: [groupsOf(columns), rows / perWord] },
    { suffix: "scales", dtype: scaleDtype, shape: [groupsOf(columns), rows] },
  ];
  return {
    storage,
    codes: "qweight",
    turned: true,
    shapeOf: ([first, second]) => (byInputs ? [second, first * perWord] : [second * perWord, first]),
    refusal: ([rows, columns]) =>
      rows % perWord === 0 && (columns % perWord === 0 || !byInputs)
        ? undefined
        : `[${rows}, ${columns}] does not fill words of ${perWord} codes`,
    stored,
    encode(backend, weight, scaleDtype) {
      const [rows, columns] = weight.shape as [number, number];
      const groups = groupsOf(columns);
      const grid = { bits, group, symmetric };
      const rounded = roundedIntegers(backend, weight, grid, scaleDtype);
      const codes = unpackRows(rounded.codes, rows, columns, bits);
      const scales = decode({ dtype: scaleDtype, data: rounded.scales });
      const zeros = rounded.zeros ?? new Int8Array(rows * groups);
      if (zeroOffset > 0) raiseZeros({ rows, columns, codes, scales, zeros }, weight, bits, scaleDtype);
      const turnedZeros = transposed(zeros, groups).map((zero) => zero - zeroOffset);
      const turnedCodes = transposed(codes, columns);
      return assemble(stored([rows, columns], scaleDtype), [
        byInputs
          ? packColumns(turnedCodes, columns, rows, bits)
          : packRows(ordered(turnedCodes, order), columns, rows, bits),
        packRows(ordered(turnedZeros, order), groups, rows, bits),
        encode(scaleDtype, transposed(scales, groups)),
      ]);
    },
    decode(parts, shape, _firstRow, backend) {
      const [rows, columns] = shape;
      const groups = groupsOf(columns);
      const weight = partOf(parts, "qweight", "I32");
      expectRows(
        weight,
        "qweight",
        ...((byInputs ? [columns / perWord, rows] : [columns, rows / perWord]) as [number, number]),
      );
      const qzeros = partOf(parts, "qzeros", "I32");
      expectRows(qzeros, "qzeros", groups, rows / perWord);
      const scales = scalesOf(parts, "scales");
      expectRows(scales, "scales", groups, rows);
      const groupOf = groupsOfColumns(parts, columns, groups, group ?? columns);
      const codes = byInputs ? codesOfInputs(weight, shape, bits) : codesOfOutputs(weight, shape, bits, order, 0);
      const zeros = codesOfOutputs(qzeros, [rows, groups], bits, order, zeroOffset);
      const factors = decode(scales);
      // Each column's own: the groups of GPTQ may be in any order.
      const own = { factors: new Float32Array(rows * columns), zeros: new Int8Array(rows * columns) };
      for (let row = 0; row < rows; row++) {
        for (let column = 0; column < columns; column++) {
          own.factors[row * columns + column] = factors[groupOf[column]! * rows + row]!;
          own.zeros[row * columns + column] = zeros[row * groups + groupOf[column]!]!;
        }
      }
      const bytes = new Uint8Array(codes.buffer);
      const scaled = { kind: "int8", codes: bytes, rows, columns, firstRow: 0, dtype: scales.dtype } as const;
      return expanded({ ...scaled, block: [1, 1], ...own }, backend);
    },
  };
}

/**
 * Where zero points are stored less 1, the lowest of them cannot be: groups of values from 0 on get the next one, and a scale
 * that makes all of them fit.
 */
function raiseZeros(
  { rows, columns, codes, scales, zeros }: IntegerCodes & { readonly zeros: Int8Array },
  weight: Tensor,
  bits: 4 | 8,
  scaleDtype: DType,
): void {
  const lowest = -(2 ** (bits - 1));
  const groups = zeros.length / rows;
  const size = columns / groups;
  const values = zeros.includes(lowest) ? decode(weight) : undefined;
  if (values === undefined) return;
  for (const [group, zero] of zeros.entries()) {
    if (zero !== lowest) continue;
    const own = values.subarray(group * size, (group + 1) * size);
    zeros[group] = lowest + 1;
    scales[group] = scaleOf(
      own.reduce((a, b) => Math.max(a, b), 0),
      2 ** bits - 2,
      scaleDtype,
    );
    for (const [i, value] of own.entries()) codes[group * size + i] = codeOf(value, scales[group]!, lowest + 1, bits);
  }
}

/** Codes in the places that they have in the words. */
function ordered(codes: Int8Array, order: readonly number[] | undefined): Int8Array {
  if (order === undefined) return codes;
  const { length } = order;
  const placed = new Int8Array(codes.length);
  for (let i = 0; i < codes.length; i++) placed[i - (i % length) + order[i % length]!] = codes[i]!;
  return placed;
}

/** Signed codes `[rows, columns]` of words `[columns / perWord, rows]`. */
function codesOfInputs(words: Tensor, [rows, columns]: MatrixShape, bits: 4 | 8): Int8Array {
  const values = wordsOf(words);
  const perWord = 32 / bits;
  const codes = new Int8Array(rows * columns);
  for (let column = 0; column < columns; column++) {
    const start = Math.floor(column / perWord) * rows;
    const shift = (column % perWord) * bits;
    for (let row = 0; row < rows; row++) codes[row * columns + column] = code(values[start + row]!, shift, bits);
  }
  return codes;
}

/** Signed codes `[rows, columns]`, to which `added` is added, of words `[columns, rows / perWord]`. */
function codesOfOutputs(
  words: Tensor,
  [rows, columns]: MatrixShape,
  bits: 4 | 8,
  order: readonly number[] | undefined,
  added: number,
): Int8Array {
  const values = wordsOf(words);
  const perWord = 32 / bits;
  const most = 127 - added;
  const codes = new Int8Array(rows * columns);
  for (let row = 0; row < rows; row++) {
    const place = order?.[row % perWord] ?? row % perWord;
    for (let column = 0; column < columns; column++) {
      const found = code(values[(column * rows + row - (row % perWord)) / perWord]!, place * bits, bits);
      if (found > most) throw new RangeError(`a zero point of ${found + 128 + added} is none of ${bits} bits`);
      codes[row * columns + column] = found + added;
    }
  }
  return codes;
}

function code(word: number, shift: number, bits: number): number {
  return ((word >>> shift) & (2 ** bits - 1)) - 2 ** (bits - 1);
}

function wordsOf({ data }: Tensor): Int32Array {
  return new Int32Array(data.slice().buffer);
}

/** The group of each column: what `g_idx` says, or one group after the other. */
function groupsOfColumns(parts: QuantisedWeight, columns: number, groups: number, size: number): Int32Array {
  if (!parts.has("g_idx")) return Int32Array.from({ length: columns }, (_, column) => Math.floor(column / size));
  const indices = partOf(parts, "g_idx", "I32", "I64");
  expectRows(indices, "g_idx", columns);
  const found = decodeIntegers(indices);
  const outside = found.find((index) => index < 0 || index >= groups);
  if (outside !== undefined) throw new RangeError(`g_idx says group ${outside} of ${groups}`);
  return found;
}
