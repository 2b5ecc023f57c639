import { decode } from "../../src/checkpoint/dtypes.js";
import type { QuantisedWeight, WeightStorage } from "../../src/checkpoint/quantised/weight-format.js";
import type { Tensor } from "../../src/checkpoint/tensor.js";

/**
 * How far a value may lie from the one that it was rounded to, for each of a quantised matrix: half the distance to the next
 * code, and what rounding scales and values to their dtype may add. Scales are measured by decoding codes of 1 and of 0.
 */
export function halfSteps(
  storage: WeightStorage,
  parts: QuantisedWeight,
  shape: readonly [number, number],
): Float64Array {
  const codes = parts.get(storage.codes)!;
  const bits = storage.storage === "awq" || (codes.dtype === "I32" && !isEightBits(codes, shape)) ? 4 : 8;
  const kind =
    codes.dtype === "F8_E4M3" ? "e4m3" : codes.dtype === "U8" ? "e2m1" : codes.dtype === "I8" ? "int8" : "words";
  const [zero, one] = {
    e4m3: [0x00, 0x38],
    e2m1: [0x00, 0x22],
    int8: [0, 1],
    words: bits === 4 ? [0x88, 0x99] : [0x80, 0x81],
  }[kind];
  const filled = (byte: number) => {
    const data = new Uint8Array(codes.data.length).fill(byte);
    return decode(storage.decode(new Map([...parts, [storage.codes, { ...codes, data }]]), shape));
  };
  const [nothing, unit] = [filled(zero!), filled(one!)];
  const decoded = storage.decode(parts, shape);
  const last = { BF16: 2 ** -8, F16: 2 ** -11, F32: 2 ** -24 }[decoded.dtype as "BF16" | "F16" | "F32"];
  return Float64Array.from(decode(decoded), (value, i) => {
    const scale = unit[i]! - nothing[i]!;
    const magnitude = Math.abs(value / scale);
    // Ranges, scales and values are each rounded to the dtype; the largest value is cut to the last code.
    const rounding = 4 * last * (Math.abs(value) + Math.abs(nothing[i]!) + Math.abs(unit[i]!));
    return (stepAt(kind, magnitude) * scale) / 2 + rounding;
  });
}

/** The distance to the codes beside one of this magnitude, the larger one. */
function stepAt(kind: "e4m3" | "e2m1" | "int8" | "words", magnitude: number): number {
  if (kind === "e4m3") return Math.max(2 ** (Math.floor(Math.log2(magnitude + 1e-30)) - 3), 2 ** -9);
  if (kind === "e2m1") return magnitude < 2 ? 0.5 : magnitude < 4 ? 1 : 2;
  return 1;
}

function isEightBits({ data }: Tensor, [rows, columns]: readonly [number, number]): boolean {
  return data.length === rows * columns;
}
