/** Number types of the safetensors format that this program decodes and encodes. */
export type DType =
  | "F64"
  | "F32"
  | "F16"
  | "BF16"
  | "I64"
  | "I32"
  | "I16"
  | "I8"
  | "U8"
  | "BOOL"
  | "F8_E4M3"
  | "F8_E5M2";

/** Number types of the safetensors format, those included that this program only copies. */
export type StoredDType =
  | DType
  | "U64"
  | "U32"
  | "U16"
  | "C64"
  | "F8_E8M0"
  | "F8_E4M3FNUZ"
  | "F8_E5M2FNUZ"
  | "F6_E2M3"
  | "F6_E3M2"
  | "F4";

/** Where a tensor lies and what it is, without its bytes. */
export interface TensorInfo {
  readonly name: string;
  readonly dtype: StoredDType;
  readonly shape: readonly number[];
  /** Name of the file inside the checkpoint's folder. */
  readonly file: string;
  /** Size of the data in bytes. */
  readonly bytes: number;
}

/** A tensor in memory in its stored dtype: little-endian, row-major, as in the file. */
export interface Tensor {
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly data: Uint8Array;
}
