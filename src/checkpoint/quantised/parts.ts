import { notFinite } from "../../compress/not-finite.js";
import type { Backend } from "../../engine/backend.js";
import { expand } from "../../engine/reference/scaled-codes.js";
import type { ScaledCodes } from "../../engine/scaled-codes.js";
import { ReamError } from "../../errors.js";
import { bytesPerElement } from "../dtypes.js";
import type { DType, Tensor } from "../tensor.js";
import { SCALE_DTYPES } from "./integer-grid.js";
import type { QuantisedWeight, StoredPart } from "./weight-format.js";

/** The part of a matrix with this suffix; a `RangeError` where it is missing or its dtype is not one of these. */
export function partOf(parts: QuantisedWeight, suffix: string, ...dtypes: DType[]): Tensor {
  const tensor = parts.get(suffix);
  if (tensor === undefined) throw new RangeError(`${suffix} is missing`);
  const { dtype, shape, data } = tensor;
  if (!dtypes.includes(dtype)) throw new RangeError(`${suffix} is ${dtype}, expected ${dtypes.join(" or ")}`);
  const size = shape.reduce((product, length) => product * length, bytesPerElement(dtype));
  if (size !== data.byteLength) throw new RangeError(`${suffix} has ${data.byteLength} bytes, expected ${size}`);
  return tensor;
}

/** Checks the shape of a part that has a row for each of the matrix's, of which there may be more than are looked at. */
export function expectRows(part: Tensor, suffix: string, rows: number, ...rest: number[]): void {
  const [found = -1, ...others] = part.shape;
  if (found >= rows && others.join() === rest.join()) return;
  throw new RangeError(`${suffix} is [${part.shape.join(", ")}], expected [${[rows, ...rest].join(", ")}]`);
}

/** Scales of a matrix, of a dtype that they may have. */
export function scalesOf(parts: QuantisedWeight, suffix = "weight_scale"): Tensor & Pick<ScaledCodes, "dtype"> {
  return partOf(parts, suffix, ...SCALE_DTYPES) as Tensor & Pick<ScaledCodes, "dtype">;
}

/** Tensors of a matrix from their bytes, in the order of `stored`. */
export function assemble(stored: readonly StoredPart[], data: readonly Uint8Array[]): QuantisedWeight {
  return new Map(stored.map(({ suffix, dtype, shape }, i) => [suffix, { dtype, shape, data: data[i]! }]));
}

/** Checks the scales of a matrix that was rounded: where one is not finite, the matrix was not. */
export function expectFinite(dtype: DType, scales: Uint8Array): void {
  if (firstNotFinite(dtype, scales) !== undefined) throw notFiniteWeight();
}

export function notFiniteWeight(): ReamError {
  return notFinite("a weight to be rounded");
}

/**
 * The matrix that codes with factors are, computed by the backend, or in plain TypeScript where there is none. Values that
 * are not finite are a `QUANTISED_VALUE` error that tells row and column.
 */
export function expanded(scaled: ScaledCodes, backend: Backend | undefined): Tensor {
  const { rows, columns, firstRow, dtype } = scaled;
  const { data, finite } = backend === undefined ? expand(scaled) : backend.expand(scaled);
  if (finite) return { dtype, shape: [rows, columns], data };
  const found = firstNotFinite(dtype, data)!;
  throw valueError(firstRow + Math.floor(found / columns), found % columns);
}

/** Bits of the exponent of the dtypes that scales and values have: all ones say that a number is not finite. */
const EXPONENTS: Readonly<Partial<Record<DType, number>>> = { BF16: 0x7f80, F16: 0x7c00, F32: 0x7f800000 };

/** Index of the first number that is not finite. */
function firstNotFinite(dtype: DType, data: Uint8Array): number | undefined {
  const size = bytesPerElement(dtype);
  const Words = size === 2 ? Uint16Array : Uint32Array;
  const bits = new Words(data.buffer as ArrayBuffer, data.byteOffset, data.byteLength / size);
  const exponent = EXPONENTS[dtype]!;
  for (let i = 0; i < bits.length; i++) if ((bits[i]! & exponent) === exponent) return i;
  return undefined;
}

function valueError(row: number, column: number): ReamError {
  return new ReamError("QUANTISED_VALUE", `code and scale of row ${row}, column ${column} are no finite number`, {
    hint: "The checkpoint is damaged; fetch it again.",
  });
}
