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
 */
export function decodeFp8Blocks(weight: Tensor, scales: Tensor, block: BlockSize, name: string, firstRow = 0): Tensor {
  const [rows, columns] = weight.shape as [number, number];
  const [gridRows, gridColumns] = scaleGrid([firstRow + rows, columns], block);
  if (weight.dtype !== "F8_E4M3" || weight.shape.length !== 2 || scales.shape.length !== 2)
    throw new RangeError(`${weight.dtype} [${weight.shape.join(", ")}] with scales [${scales.shape.join(", ")}]`);
  if (scales.shape[0]! < gridRows || scales.shape[1] !== gridColumns)
    throw new RangeError(`scales [${scales.shape.join(", ")}] for [${weight.shape.join(", ")}] from row ${firstRow}`);
  const values = decode(weight);
  const factors = decode(scales);
  for (let row = 0; row < rows; row++) {
    const factorRow = Math.floor((firstRow + row) / block[0]) * gridColumns;
    for (let blockColumn = 0; blockColumn < gridColumns; blockColumn++) {
      const factor = factors[factorRow + blockColumn]!;
      const end = row * columns + Math.min(columns, (blockColumn + 1) * block[1]);
      for (let i = row * columns + blockColumn * block[1]; i < end; i++) {
        const value = values[i]! * factor;
        values[i] = value;
        if (!Number.isFinite(values[i]!)) throw valueError(name, firstRow + row, i % columns, weight.data[i]!, factor);
      }
    }
  }
  return { dtype: "F32", shape: weight.shape, data: new Uint8Array(values.buffer) };
}

function valueError(name: string, row: number, column: number, code: number, scale: number): ReamError {
  const what = `code 0x${code.toString(16).padStart(2, "0")} with the scale ${scale} is no finite number`;
  return new ReamError("QUANTISED_VALUE", `${quote(name)}, row ${row}, column ${column}: ${what}`, {
    hint: "The checkpoint is damaged; fetch it again.",
  });
}
