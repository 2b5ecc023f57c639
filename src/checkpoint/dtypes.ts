import { ReamError } from "../errors.js";
import { decodeSmallFloat, encodeSmallFloat, type SmallFloat } from "./small-floats.js";
import type { DType, StoredDType, Tensor } from "./tensor.js";

/**
 * Bits of one element, in ascending order of alignment: the order in which the reference writer compares dtypes when it
 * lays out a file, largest first.
 */
export const DTYPE_BITS: Readonly<Record<StoredDType, number>> = {
  BOOL: 8,
  F4: 4,
  F6_E2M3: 6,
  F6_E3M2: 6,
  U8: 8,
  I8: 8,
  F8_E5M2: 8,
  F8_E4M3: 8,
  F8_E8M0: 8,
  F8_E4M3FNUZ: 8,
  F8_E5M2FNUZ: 8,
  I16: 16,
  U16: 16,
  F16: 16,
  BF16: 16,
  I32: 32,
  U32: 32,
  F32: 32,
  C64: 64,
  F64: 64,
  I64: 64,
  U64: 64,
};

const SMALL_FLOATS: Readonly<Partial<Record<DType, SmallFloat>>> = {
  F16: { exponentBits: 5, mantissaBits: 10, infinity: true },
  F8_E5M2: { exponentBits: 5, mantissaBits: 2, infinity: true },
  F8_E4M3: { exponentBits: 4, mantissaBits: 3, infinity: false },
};

/** The arrays whose elements have the layout of a dtype. BF16 and the small floats are seen as their codes. */
const ARRAYS = {
  F64: Float64Array,
  F32: Float32Array,
  F16: Uint16Array,
  BF16: Uint16Array,
  I64: BigInt64Array,
  I32: Int32Array,
  I16: Int16Array,
  I8: Int8Array,
  U8: Uint8Array,
  BOOL: Uint8Array,
  F8_E4M3: Uint8Array,
  F8_E5M2: Uint8Array,
} as const satisfies Record<DType, unknown>;

/** Largest and smallest value of the integer dtypes. */
const INTEGER_RANGES: Readonly<Partial<Record<DType, readonly [number, number]>>> = {
  // Every float32 below 2^63 fits; 2^63 itself does not.
  I64: [-(2 ** 63), 2 ** 63 - 1024],
  I32: [-(2 ** 31), 2 ** 31 - 1],
  I16: [-(2 ** 15), 2 ** 15 - 1],
  I8: [-128, 127],
  U8: [0, 255],
  BOOL: [0, 1],
};

export function isStoredDType(name: string): name is StoredDType {
  return Object.hasOwn(DTYPE_BITS, name);
}

/** Whether this program can do more with the type than copy it. */
export function isDType(dtype: StoredDType): dtype is DType {
  return Object.hasOwn(ARRAYS, dtype);
}

/** Bytes of one element. */
export function bytesPerElement(dtype: DType): number {
  return DTYPE_BITS[dtype] / 8;
}

function view<D extends DType>(dtype: D, data: Uint8Array): InstanceType<(typeof ARRAYS)[D]> {
  const size = bytesPerElement(dtype);
  if (data.byteLength % size !== 0) throw new RangeError(`${data.byteLength} bytes are not whole ${dtype} values`);
  const aligned = data.byteOffset % size === 0 ? data : data.slice();
  const array = new ARRAYS[dtype](aligned.buffer as ArrayBuffer, aligned.byteOffset, aligned.byteLength / size);
  return array as InstanceType<(typeof ARRAYS)[D]>;
}

/**
 * Values of a tensor as float32, row-major, into `out` where given (it must have the tensor's length). Every float type
 * but F64 is exact, NaN payloads included; F64 is rounded. An integer that float32 cannot hold is a `TENSOR_VALUE` error.
 */
export function decode(tensor: Pick<Tensor, "dtype" | "data">, out?: Float32Array): Float32Array {
  const { dtype, data } = tensor;
  const values = out ?? new Float32Array(data.byteLength / bytesPerElement(dtype));
  const source = view(dtype, data);
  if (values.length !== source.length)
    throw new RangeError(`${source.length} values into an array of ${values.length}`);
  const small = SMALL_FLOATS[dtype];
  if (small !== undefined) decodeSmallFloat(small, source as Uint8Array | Uint16Array, values);
  else if (dtype === "BF16") decodeBfloat16(source as Uint16Array, values);
  else if (INTEGER_RANGES[dtype] !== undefined) decodeExact(dtype, source, values);
  else values.set(source as Float32Array | Float64Array);
  return values;
}

function decodeBfloat16(source: Uint16Array, values: Float32Array): void {
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  for (let i = 0; i < source.length; i++) bits[i] = source[i]! << 16;
}

function decodeExact(dtype: DType, source: ArrayLike<number | bigint>, values: Float32Array): void {
  for (let i = 0; i < source.length; i++) {
    const value = source[i]!;
    values[i] = Number(value);
    // Compared as bigint where the source is one: Number(value) may itself be rounded.
    if (typeof value === "bigint" ? BigInt(values[i]!) !== value : values[i] !== value) {
      throw new ReamError("TENSOR_VALUE", `the ${dtype} value ${value} has no exact float32 form`, {
        where: `element ${i}`,
      });
    }
  }
}

/** Values of a tensor of an integer dtype as int32, as token ids are used. Out of range is a `TENSOR_VALUE` error. */
export function decodeIntegers(tensor: Pick<Tensor, "dtype" | "data">): Int32Array {
  if (INTEGER_RANGES[tensor.dtype] === undefined) {
    throw new ReamError("TENSOR_DTYPE", `${tensor.dtype} values stand where integers should`);
  }
  const source: ArrayLike<number | bigint> = view(tensor.dtype, tensor.data);
  const values = new Int32Array(source.length);
  for (let i = 0; i < source.length; i++) {
    const value = Number(source[i]!);
    values[i] = value;
    if (values[i] !== value)
      throw new ReamError("TENSOR_VALUE", `${value} does not fit int32`, { where: `element ${i}` });
  }
  return values;
}

/**
 * Bytes of float32 values in `dtype`: floats are rounded to nearest even as torch does it (F8_E4M3 has no infinity and
 * saturates at 448). For integer dtypes the values must be whole and in range, else `TENSOR_VALUE`.
 */
export function encode(dtype: DType, values: Float32Array): Uint8Array {
  const data = new Uint8Array(values.length * bytesPerElement(dtype));
  const target = view(dtype, data);
  const small = SMALL_FLOATS[dtype];
  if (small !== undefined) encodeSmallFloat(small, values, target as Uint8Array | Uint16Array);
  else if (dtype === "BF16") encodeBfloat16(values, target as Uint16Array);
  else if (INTEGER_RANGES[dtype] !== undefined) encodeExact(dtype, values, target as Int32Array | BigInt64Array);
  else (target as Float32Array | Float64Array).set(values);
  return data;
}

function encodeBfloat16(values: Float32Array, target: Uint16Array): void {
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  for (let i = 0; i < bits.length; i++) {
    const value = bits[i]!;
    if ((value & 0x7fffffff) > 0x7f800000) {
      // A NaN keeps its upper payload; one that has none there would become infinity.
      target[i] = (value >>> 16) | ((value & 0x007f0000) === 0 ? 0x40 : 0);
    } else {
      target[i] = (value + 0x7fff + ((value >>> 16) & 1)) >>> 16;
    }
  }
}

function encodeExact(dtype: DType, values: Float32Array, target: Int32Array | BigInt64Array): void {
  const [least, greatest] = INTEGER_RANGES[dtype]!;
  for (let i = 0; i < values.length; i++) {
    const value = values[i]!;
    if (!Number.isInteger(value) || value < least || value > greatest) {
      throw new ReamError("TENSOR_VALUE", `${value} is no ${dtype} value`, { where: `element ${i}` });
    }
    target[i] = target instanceof BigInt64Array ? BigInt(value) : value;
  }
}
