import { ReamError } from "../errors.js";
import { decode, encode } from "./dtypes.js";
import type { DType, Tensor } from "./tensor.js";

/** A tensor in another float dtype; itself where the dtype is its own. */
export function convert(tensor: Tensor, dtype: DType | undefined): Tensor {
  if (dtype === undefined || dtype === tensor.dtype) return tensor;
  return { dtype, shape: tensor.shape, data: encodeFinite(dtype, decode(tensor)) };
}

/** Encodes weights. `DTYPE_RANGE` where a finite value has no finite counterpart in the dtype, as 70,000 in float16. */
export function encodeFinite(dtype: DType, values: Float32Array): Uint8Array {
  const data = encode(dtype, values);
  if (dtype !== "F16") return data;
  const stored = decode({ dtype, data });
  const lost = values.findIndex((value, i) => Number.isFinite(value) && !Number.isFinite(stored[i]!));
  if (lost === -1) return data;
  throw new ReamError("DTYPE_RANGE", `a weight of ${values[lost]} is too large for float16`, {
    where: "--output-dtype",
    hint: "Use --output-dtype bf16 or f32.",
  });
}
