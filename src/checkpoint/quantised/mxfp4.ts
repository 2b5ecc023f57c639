import { ReamError } from "../../errors.js";
import { encode } from "../dtypes.js";
import { quote } from "../json-scanner.js";
import type { Tensor } from "../tensor.js";

/** Values that share a scale, and the bytes that hold them. */
export const MXFP4_GROUP = 32;
export const MXFP4_GROUP_BYTES = 16;

/** Values of the codes 0 to 7 of E2M1; bit 3 is the sign. */
export const E2M1 = [0, 0.5, 1, 1.5, 2, 3, 4, 6];

/** BF16 of every code under every scale: `[256, 16]`. A scale is a power of two (E8M0), 255 is NaN. */
const TABLE = makeTable();

function makeTable(): Uint16Array {
  const values = Float32Array.from({ length: 256 * 16 }, (_, i) => {
    const scale = i >> 4 === 255 ? Number.NaN : 2 ** ((i >> 4) - 127);
    return (i & 8 ? -1 : 1) * E2M1[i & 7]! * scale;
  });
  return new Uint16Array(encode("BF16", values).buffer);
}

/**
 * MXFP4 (OCP Microscaling 1.0, 4-bit floats in groups of 32 with one scale): BF16, which holds every value exactly. blocks
 * U8 `[..., groups, 16]`, in a byte the low half before the high one; scales U8 `[..., groups]`; result `[..., 32 groups]`.
 * A value that is not finite is a `QUANTISED_VALUE` error.
 *
 * @param name of the weight, for errors
 */
export function decodeMxfp4(blocks: Tensor, scales: Tensor, name: string): Tensor {
  const shape = scales.shape.slice(0, -1);
  const groups = scales.shape.at(-1)!;
  if (blocks.dtype !== "U8" || scales.dtype !== "U8" || blocks.shape.join() !== [...scales.shape, 16].join()) {
    const scaled = `${scales.dtype} [${scales.shape.join(", ")}]`;
    throw new RangeError(`blocks ${blocks.dtype} [${blocks.shape.join(", ")}] with scales ${scaled}`);
  }
  const codes = blocks.data;
  const values = new Uint16Array(2 * codes.length);
  for (let group = 0; group < scales.data.length; group++) {
    const row = scales.data[group]! << 4;
    for (let i = group * MXFP4_GROUP_BYTES; i < (group + 1) * MXFP4_GROUP_BYTES; i++) {
      const low = TABLE[row | (codes[i]! & 15)]!;
      const high = TABLE[row | (codes[i]! >> 4)]!;
      values[2 * i] = low;
      values[2 * i + 1] = high;
      if (!isFinite16(low) || !isFinite16(high)) throw valueError(name, group, codes[i]!, scales.data[group]!);
    }
  }
  return { dtype: "BF16", shape: [...shape, MXFP4_GROUP * groups], data: new Uint8Array(values.buffer) };
}

/** Whether a BF16 code is neither infinite nor NaN. */
function isFinite16(code: number): boolean {
  return (code & 0x7f80) !== 0x7f80;
}

function valueError(name: string, group: number, codes: number, scale: number): ReamError {
  const what = `codes 0x${codes.toString(16).padStart(2, "0")} with the scale 2^(${scale} - 127)`;
  return new ReamError("QUANTISED_VALUE", `${quote(name)}, group ${group}: ${what} are no finite numbers`, {
    hint: "The checkpoint is damaged; fetch it again.",
  });
}
