import { decode } from "../dtypes.js";
import type { Tensor } from "../tensor.js";
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
  return e4m3(sharing, { storage, suffix: "weight_scale" });
}

/**
 * FP8 of DeepSeek-V3: as with blocks in compressed-tensors, but that the scales are called `weight_scale_inv` and values are
 * float32 whatever the scales are. `powersOfTwo`: scales are rounded up to powers of two (`scale_fmt` "ue8m0").
 */
export function fp8Blocks(block: BlockSize, powersOfTwo: boolean): WeightStorage {
  return e4m3(block, { storage: "fp8-blocks", suffix: "weight_scale_inv", values: "F32", powersOfTwo });
}

interface E4m3Options {
  readonly storage: string;
  /** Of the scales. */
  readonly suffix: string;
  /** Dtype of the values; undefined: that of the scales. */
  readonly values?: "F32";
  readonly powersOfTwo?: boolean;
}

function e4m3(sharing: Sharing, { storage, suffix, values, powersOfTwo = false }: E4m3Options): WeightStorage {
  const stored: WeightStorage["stored"] = (shape, scaleDtype) => [
    { suffix: "weight", dtype: "F8_E4M3", shape },
    { suffix, dtype: scaleDtype, shape: sharing === "tensor" ? [1] : scaleGrid(shape, blockOf(sharing, shape)) },
  ];
  return {
    storage,
    codes: "weight",
    shapeOf: (shape) => shape,
    stored,
    refusal: () => undefined,
    encode(backend, weight, scaleDtype) {
      const shape = weight.shape as [number, number];
      const block = blockOf(sharing, shape);
      const { codes, scales } = backend.round(weight, { kind: "e4m3", block, scaleDtype, powersOfTwo });
      expectFinite(scaleDtype, scales);
      return assemble(stored(shape, scaleDtype), [codes, scales]);
    },
    decode(parts, [rows, columns], firstRow = 0, backend) {
      const weight = partOf(parts, "weight", "F8_E4M3");
      expectRows(weight, "weight", rows, columns);
      const found = scalesOf(parts, suffix);
      const scales = sharing === "tensor" ? onlyScale(found) : found;
      const block = blockOf(sharing, [firstRow + rows, columns]);
      expectRows(scales, suffix, ...scaleGrid([firstRow + rows, columns], block));
      const codes = {
        kind: "e4m3",
        codes: weight.data,
        rows,
        columns,
        firstRow,
        dtype: values ?? found.dtype,
      } as const;
      return expanded({ ...codes, block, factors: decode(scales) }, backend);
    },
  };
}

/** E4M3 to write. Without a scheme for inputs compressed-tensors calls it `naive-quantized`. */
export function roundedE4m3(sharing: "channel" | BlockSize): WeightFamily {
  const named = { num_bits: 8, type: "float", symmetric: true };
  const block = sharing !== "channel";
  return {
    ...scaledE4m3(sharing, "naive-quantized"),
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
