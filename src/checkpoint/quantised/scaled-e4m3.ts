import { decode } from "../dtypes.js";
import type { DType, Tensor } from "../tensor.js";
import { type BlockSize, scaleGrid } from "./fp8-blocks.js";
import { assemble, expanded, expectFinite, expectRows, partOf, scalesOf } from "./parts.js";
import type { MatrixShape, WeightFamily, WeightStorage } from "./weight-format.js";

/** Which values share a scale: all of the matrix, those of a row, or those of a block. */
export type Sharing = "tensor" | "channel" | BlockSize;

/**
 * `float-quantized`, `naive-quantized`: E4M3 `weight` `[rows, columns]`; scales `[1]`, `[rows, 1]`, or one for each block,
 * the last ones partial. A value is code * scale, rounded to the dtype of the scales.
 */
export function scaledE4m3(sharing: Sharing, storage: string): WeightStorage {
  return {
    storage,
    codes: "weight",
    shapeOf: (shape) => shape,
    stored: (shape, scaleDtype) => [
      { suffix: "weight", dtype: "F8_E4M3", shape },
      {
        suffix: "weight_scale",
        dtype: scaleDtype,
        shape: sharing === "tensor" ? [1] : scaleGrid(shape, blockOf(sharing, shape)),
      },
    ],
    refusal: () => undefined,
    decode(parts, [rows, columns], firstRow = 0, backend) {
      const weight = partOf(parts, "weight", "F8_E4M3");
      expectRows(weight, "weight", rows, columns);
      const found = scalesOf(parts);
      const scales = sharing === "tensor" ? onlyScale(found) : found;
      const block = blockOf(sharing, [firstRow + rows, columns]);
      expectRows(scales, "weight_scale", ...scaleGrid([firstRow + rows, columns], block));
      const codes = { kind: "e4m3", codes: weight.data, rows, columns, firstRow, dtype: found.dtype } as const;
      return expanded({ ...codes, block, factors: decode(scales) }, backend);
    },
  };
}

/** E4M3 to write. Without a scheme for inputs compressed-tensors calls it `naive-quantized`. */
export function roundedE4m3(sharing: "channel" | BlockSize): WeightFamily {
  const storage = scaledE4m3(sharing, "naive-quantized");
  const named = { num_bits: 8, type: "float", symmetric: true };
  const block = sharing !== "channel";
  return {
    ...storage,
    encode(backend, weight, scaleDtype: DType) {
      const shape = weight.shape as [number, number];
      const { codes, scales } = backend.round(weight, { kind: "e4m3", block: blockOf(sharing, shape), scaleDtype });
      expectFinite(scaleDtype, scales);
      return assemble(storage.stored(shape, scaleDtype), [codes, scales]);
    },
    weights: {
      ...{ ...named, group_size: null, strategy: block ? "block" : "channel" },
      ...(block ? { block_structure: sharing } : {}),
      dynamic: false,
    },
    dynamicActivations: block
      ? { ...named, group_size: sharing[1], strategy: "group", dynamic: true }
      : { ...named, group_size: null, strategy: "token", dynamic: true },
  };
}

function blockOf(sharing: Sharing, [rows, columns]: MatrixShape): BlockSize {
  if (sharing === "tensor") return [rows, columns];
  return sharing === "channel" ? [1, columns] : sharing;
}

function onlyScale(scales: Tensor): Tensor {
  const count = scales.shape.reduce((product, size) => product * size, 1);
  if (count !== 1) throw new RangeError(`weight_scale is [${scales.shape.join(", ")}], expected one scale`);
  return { ...scales, shape: [1, 1] };
}
