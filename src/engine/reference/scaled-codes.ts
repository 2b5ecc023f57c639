import { decode, encode } from "../../checkpoint/dtypes.js";
import { E2M1 } from "../../checkpoint/quantised/mxfp4.js";
import { type CodeKind, codeBytes, factorColumns, type ScaledCodes, type ScaledValues } from "../scaled-codes.js";

/** Values of codes (backend.ts, `expand`). */
export function expand(scaled: ScaledCodes): ScaledValues {
  const { kind, codes, rows, columns, block, factors, zeros, firstRow, dtype } = scaled;
  const groups = factorColumns(scaled);
  const table = VALUES[kind];
  const halves = kind === "int4" || kind === "e2m1";
  const values = new Float32Array(rows * columns);
  for (let row = 0; row < rows; row++) {
    const codeRow = row * codeBytes(kind, columns);
    const factorRow = Math.floor((firstRow + row) / block[0]) * groups;
    for (let group = 0; group < groups; group++) {
      const factor = factors[factorRow + group]!;
      const zero = zeros?.[factorRow + group] ?? 0;
      const end = Math.min(columns, (group + 1) * block[1]);
      for (let column = group * block[1]; column < end; column++) {
        const byte = codes[codeRow + (halves ? column >> 1 : column)]!;
        const code = halves ? (byte >> (4 * (column & 1))) & 15 : byte;
        values[row * columns + column] = (table[code]! - zero) * factor;
      }
    }
  }
  const data = encode(dtype, values);
  return { data, finite: decode({ dtype, data }, values).every(Number.isFinite) };
}

const bytes = (value: (byte: number) => number) => Float32Array.from({ length: 256 }, (_, byte) => value(byte));

/** The values of all codes. */
const VALUES: Readonly<Record<CodeKind, Float32Array>> = {
  int4: Float32Array.from({ length: 16 }, (_, code) => code - 8),
  uint8: bytes((byte) => byte - 128),
  int8: bytes((byte) => (byte << 24) >> 24),
  e4m3: decode({ dtype: "F8_E4M3", data: Uint8Array.from({ length: 256 }, (_, byte) => byte) }),
  e2m1: Float32Array.from([...E2M1, ...E2M1.map((value) => -value)]),
};
