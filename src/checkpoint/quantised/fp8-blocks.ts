import type { Backend } from "../../engine/backend.js";
import { expand } from "../../engine/reference/scaled-codes.js";
import type { ScaledCodes } from "../../engine/scaled-codes.js";
import { ReamError } from "../../errors.js";
import { decode } from "../dtypes.js";
import { quote } from "../json-scanner.js";
import type { Tensor } from "../tensor.js";

/** Rows and columns of the blocks that share a scale. */
export type BlockSize = readonly [rows: number, columns: number];

/** Shape of the scales of a matrix: blocks start at multiples of the block size, the last ones may be partial. */
export function scaleGrid([rows, columns]: readonly [number, number], block: BlockSize): [number, number] {
  return [Math.ceil(rows / block[0]), Math.ceil(columns / block[1])];
}

/**
 * An E4M3 matrix with a scale for each block (DeepSeek-V3): F32, value = code * scale. weight `[rows, columns]`; scales as
 * `scaleGrid` says, of the whole stored matrix, of which the weight's first row is `firstRow`. A value that is not finite
 * is a `QUANTISED_VALUE` error.
 *
 * @param name of the weight, for errors
 * @param backend makes it faster, to the same bits
 */
export function decodeFp8Blocks(
  weight: Tensor,
  scales: Tensor,
  block: BlockSize,
  name: string,
  firstRow = 0,
  backend?: Backend,
): Tensor {
  const [rows, columns] = weight.shape as [number, number];
  const [gridRows, gridColumns] = scaleGrid([firstRow + rows, columns], block);
  if (weight.dtype !== "F8_E4M3" || weight.shape.length !== 2 || scales.shape.length !== 2)
    throw new RangeError(`${weight.dtype} [${weight.shape.join(", ")}] with scales [${scales.shape.join(", ")}]`);
  if (scales.shape[0]! < gridRows || scales.shape[1] !== gridColumns)
    throw new RangeError(`scales [${scales.shape.join(", ")}] for [${weight.shape.join(", ")}] from row ${firstRow}`);
  const codes = { kind: "e4m3", codes: weight.data, rows, columns, firstRow, dtype: "F32" } as const;
  const scaled = { ...codes, block, factors: decode(scales) };
  const { data, finite } = backend === undefined ? expand(scaled) : backend.expand(scaled);
  if (!finite) throw valueError(name, scaled, data);
  return { dtype: "F32", shape: weight.shape, data };
}

function valueError(
  name: string,
  { codes, columns, firstRow, block, factors }: ScaledCodes,
  data: Uint8Array,
): ReamError {
  const found = decode({ dtype: "F32", data }).findIndex((value) => !Number.isFinite(value));
  const [row, column] = [firstRow + Math.floor(found / columns), found % columns];
  const factor = Math.floor(row / block[0]) * Math.ceil(columns / block[1]) + Math.floor(column / block[1]);
  const what = `code 0x${codes[found]!.toString(16).padStart(2, "0")} with the scale ${factors[factor]!} is no finite number`;
  return new ReamError("QUANTISED_VALUE", `${quote(name)}, row ${row}, column ${column}: ${what}`, {
    hint: "The checkpoint is damaged; fetch it again.",
  });
}
