import type { Backend } from "../../engine/backend.js";
import { decode, encode } from "../dtypes.js";
import type { Tensor } from "../tensor.js";
import { groupRefusal } from "./integers.js";
import { E2M1, MXFP4_GROUP } from "./mxfp4.js";
import { assemble, expanded, expectRows, notFiniteWeight, partOf } from "./parts.js";
import type { MatrixShape, QuantisedWeight, WeightFamily } from "./weight-format.js";

/** Values that share a scale in NVFP4. */
export const NVFP4_GROUP = 16;
/** The largest numbers of E4M3 and E2M1. */
const [E4M3_LARGEST, E2M1_LARGEST] = [448, 6];

/**
 * `mxfp4-pack-quantized` (OCP Microscaling 1.0): E2M1 codes, two to a byte, `weight_packed` `[rows, columns / 2]`; scales
 * E8M0 as U8 `[rows, columns / 32]`. A value is code * 2^(scale - 127), in BF16.
 */
export const MXFP4: WeightFamily = {
  storage: "mxfp4-pack-quantized",
  codes: "weight_packed",
  shapeOf: ([rows, bytes]) => [rows, 2 * bytes],
  stored: ([rows, columns]) => [
    { suffix: "weight_packed", dtype: "U8", shape: [rows, columns / 2] },
    { suffix: "weight_scale", dtype: "U8", shape: [rows, columns / MXFP4_GROUP] },
  ],
  refusal: ([, columns]) => groupRefusal(columns, MXFP4_GROUP),
  encode(backend, weight, scaleDtype) {
    const shape = checkedShape(weight, MXFP4_GROUP);
    const { codes, scales } = backend.round(weight, { kind: "mxfp4" });
    // 255 is the NaN of E8M0.
    if (scales.includes(255)) throw notFiniteWeight();
    return assemble(MXFP4.stored(shape, scaleDtype), [codes, scales]);
  },
  decode(parts, shape, firstRow = 0, backend) {
    const scales = partOf(parts, "weight_scale", "U8");
    return decodeE2m1(parts, shape, MXFP4_GROUP, scales, powersOfTwo(scales.data), firstRow, backend);
  },
  weights: {
    ...{ num_bits: 4, type: "float", symmetric: true, group_size: MXFP4_GROUP, strategy: "group", dynamic: false },
    ...{ scale_dtype: "torch.uint8" },
  },
};

/**
 * `nvfp4-pack-quantized`: E2M1 codes as in MXFP4; scales E4M3 `[rows, columns / 16]`, and one for the matrix by which these
 * are divided, `weight_global_scale` F32 `[1]`. A value is code * (scale / global scale) in float32, rounded to BF16.
 */
export const NVFP4: WeightFamily = {
  storage: "nvfp4-pack-quantized",
  joint: true,
  codes: "weight_packed",
  shapeOf: ([rows, bytes]) => [rows, 2 * bytes],
  stored: ([rows, columns]) => [
    { suffix: "weight_packed", dtype: "U8", shape: [rows, columns / 2] },
    { suffix: "weight_scale", dtype: "F8_E4M3", shape: [rows, columns / NVFP4_GROUP] },
    { suffix: "weight_global_scale", dtype: "F32", shape: [1] },
  ],
  refusal: ([, columns]) => groupRefusal(columns, NVFP4_GROUP),
  encode(backend, weight, scaleDtype, largest = backend.largest(weight)) {
    const shape = checkedShape(weight, NVFP4_GROUP);
    if (!Number.isFinite(largest)) throw notFiniteWeight();
    const globalScale = globalScaleOf(largest);
    const { codes, scales } = backend.round(weight, { kind: "nvfp4", globalScale });
    const factor = encode("F32", Float32Array.of(globalScale));
    return assemble(NVFP4.stored(shape, scaleDtype), [codes, scales, factor]);
  },
  decode(parts, shape, firstRow = 0, backend) {
    const scales = partOf(parts, "weight_scale", "F8_E4M3");
    const globalScale = partOf(parts, "weight_global_scale", "F32");
    if (globalScale.data.length !== 4) throw new RangeError("weight_global_scale is no single number");
    const [divisor] = decode(globalScale);
    const factors = decode(scales).map((scale) => scale / divisor!);
    return decodeE2m1(parts, shape, NVFP4_GROUP, scales, factors, firstRow, backend);
  },
  weights: {
    ...{
      num_bits: 4,
      type: "float",
      symmetric: true,
      group_size: NVFP4_GROUP,
      strategy: "tensor_group",
      dynamic: false,
    },
    ...{ scale_dtype: "torch.float8_e4m3fn" },
  },
};

/**
 * The scale that makes the largest group scale of a matrix the largest E4M3 number: `generate_gparam` of
 * compressed-tensors. 1 where all values are 0, or so small that it would be no number.
 */
export function globalScaleOf(largest: number): number {
  const scale = Math.fround((E4M3_LARGEST * E2M1_LARGEST) / largest);
  return Number.isFinite(scale) ? scale : 1;
}

/** E2M1 codes with the factors that scales `[rows, groups]` are. */
function decodeE2m1(
  parts: QuantisedWeight,
  [rows, columns]: MatrixShape,
  group: number,
  scales: Tensor,
  factors: Float32Array,
  firstRow: number,
  backend: Backend | undefined,
): Tensor {
  const { data } = partOf(parts, "weight_packed", "U8");
  expectRows(parts.get("weight_packed")!, "weight_packed", rows, columns / 2);
  expectRows(scales, "weight_scale", firstRow + rows, columns / group);
  const codes = { kind: "e2m1", codes: data, rows, columns, firstRow, dtype: "BF16" } as const;
  return expanded({ ...codes, block: [1, group], factors }, backend);
}

/** What E8M0 scales are. */
function powersOfTwo(scales: Uint8Array): Float32Array {
  const powers = new Float32Array(scales.length);
  for (let i = 0; i < scales.length; i++) powers[i] = E8M0[scales[i]!]!;
  return powers;
}

/** The numbers of E8M0; 255 is NaN. */
const E8M0 = Float32Array.from({ length: 256 }, (_, code) => (code === 255 ? Number.NaN : 2 ** (code - 127)));

/** The E2M1 code nearest to a value, ties to the even code, at most 6 in magnitude. */
export function e2m1Code(value: number): number {
  const magnitude = Math.abs(value);
  let code = 0;
  for (let next = 1; next < E2M1.length; next++) {
    const middle = (E2M1[next - 1]! + E2M1[next]!) / 2;
    if (magnitude > middle || (magnitude === middle && next % 2 === 0)) code = next;
  }
  return code | (value < 0 || Object.is(value, -0) ? 8 : 0);
}

function checkedShape(weight: Tensor, group: number): MatrixShape {
  const [rows, columns] = weight.shape as [number, number];
  const refused = groupRefusal(columns, group);
  if (refused !== undefined) throw new RangeError(refused);
  return [rows, columns];
}
