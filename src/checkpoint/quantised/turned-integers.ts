import { decode, decodeIntegers } from "../dtypes.js";
import type { Tensor } from "../tensor.js";
import { expanded, expectRows, partOf, scalesOf } from "./parts.js";
import type { MatrixShape, QuantisedWeight, WeightStorage } from "./weight-format.js";

/** What the storages of GPTQ and AWQ differ in. */
export interface TurnedIntegers {
  readonly storage: "gptq" | "awq";
  readonly bits: 4 | 8;
  /** Columns that share a scale; undefined: all. */
  readonly group: number | undefined;
  /** Added to the zero points that are stored: 1 in GPTQ's first format, which stores them less 1. */
  readonly zeroOffset: number;
}

/** Which of the 8 codes of a word is that of output i (AWQ's `gemm`). */
const AWQ_ORDER = [0, 4, 1, 5, 2, 6, 3, 7];

/**
 * The transposed integers of AutoGPTQ and AutoAWQ, which are only read: `qweight` in words of 32 bits, of the inputs
 * `[columns * bits / 32, rows]` in GPTQ, of the outputs `[columns, rows * bits / 32]` in AWQ, there in an order of their own;
 * `qzeros` `[groups, rows * bits / 32]` in words of the outputs; `scales` `[groups, rows]`; GPTQ's `g_idx` `[columns]` says the
 * group of each column. A value is (code - zero) * scale, rounded to the dtype of the scales.
 */
export function turnedIntegers({ storage, bits, group, zeroOffset }: TurnedIntegers): WeightStorage {
  const perWord = 32 / bits;
  const byInputs = storage === "gptq";
  const order = byInputs ? undefined : AWQ_ORDER;
  const groupsOf = (columns: number) => (group === undefined ? 1 : Math.ceil(columns / group));
  return {
    storage,
    codes: "qweight",
    turned: true,
    shapeOf: ([first, second]) => (byInputs ? [second, first * perWord] : [second * perWord, first]),
    refusal: ([rows, columns]) =>
      rows % perWord === 0 && (columns % perWord === 0 || !byInputs)
        ? undefined
        : `[${rows}, ${columns}] does not fill words of ${perWord} codes`,
    stored: ([rows, columns], scaleDtype) => [
      { suffix: "qweight", dtype: "I32", shape: byInputs ? [columns / perWord, rows] : [columns, rows / perWord] },
      { suffix: "qzeros", dtype: "I32", shape: [groupsOf(columns), rows / perWord] },
      { suffix: "scales", dtype: scaleDtype, shape: [groupsOf(columns), rows] },
    ],
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
