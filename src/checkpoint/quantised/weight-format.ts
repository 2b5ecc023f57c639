import type { Backend } from "../../engine/backend.js";
import type { DType, Tensor } from "../tensor.js";
import type { IntegerCodes, IntegerGrid } from "./integer-grid.js";

/**
 * Formats that matrices are written in. Integers: symmetric or `asym` with zero points, a scale for each `g` columns, for
 * each row in `int8` and `int4-channel`. `fp8`: E4M3 with a scale for each row, `fp8-block`: for each 128 x 128.
 */
export const WEIGHT_FORMAT_NAMES = [
  "int8",
  "int4-channel",
  "int4-g32",
  "int4-g128",
  "int4-g32-asym",
  "int4-g128-asym",
  "fp8",
  "fp8-block",
  "mxfp4",
  "nvfp4",
] as const;
export type WeightFormatName = (typeof WEIGHT_FORMAT_NAMES)[number];

/** Rows and columns of a matrix. */
export type MatrixShape = readonly [rows: number, columns: number];

/** One of the tensors that a matrix is stored as. */
export interface StoredPart {
  /** What follows the name of the module, as in `model.layers.0.mlp.up_proj.weight_scale`. */
  readonly suffix: string;
  readonly dtype: DType;
  readonly shape: readonly number[];
}

/** The tensors of a matrix by their suffix. */
export type QuantisedWeight = ReadonlyMap<string, Tensor>;

/** A way to store matrices. */
export interface WeightStorage {
  /** Its name, in compressed-tensors where that has it. */
  readonly storage: string;
  /** The part that holds the codes: a row of it is a row of the matrix, unless `turned`. */
  readonly codes: string;
  /** Rows of the matrix are columns of the codes (GPTQ, AWQ): only whole matrices can be decoded. */
  readonly turned?: boolean;
  /** Shape of the matrix whose codes have this shape; columns in words of 32 bits are rounded up to whole ones. */
  shapeOf(codes: MatrixShape): MatrixShape;
  /**
   * Tensors of a matrix, in the order in which they are written. Scales are of `scaleDtype`, the dtype of the source's
   * floats, where compressed-tensors stores them so.
   */
  stored(shape: MatrixShape, scaleDtype: DType): readonly StoredPart[];
  /** Why a matrix of this shape cannot be stored so; undefined if it can. */
  refusal(shape: MatrixShape): string | undefined;
  /**
   * The values of a matrix in the dtype that compressed-tensors gives them, bit for bit. The codes may be those of some
   * rows only: `shape` is theirs, `firstRow` where they begin in the matrix that all other parts are of. Parts that do
   * not fit are a `RangeError`, values that are not finite `QUANTISED_VALUE`. A backend makes it faster.
   */
  decode(parts: QuantisedWeight, shape: MatrixShape, firstRow?: number, backend?: Backend): Tensor;
  /**
   * A matrix `[rows, columns]` of any float dtype, rounded to nearest. Values that are not finite are `NOT_FINITE`.
   *
   * @param largest greatest magnitude of all matrices that a server joins to one, where `joint`. Undefined: that of this one.
   */
  encode(backend: Backend, weight: Tensor, scaleDtype: DType, largest?: number): QuantisedWeight;
  /**
   * Whether a matrix has a scale of its own besides others, which servers want to be the same for what they join: gate and
   * up; q, k and v.
   */
  readonly joint?: boolean;
}

/** A format that matrices can be written in. */
export interface WeightFormat extends WeightStorage {
  readonly name: WeightFormatName;
  /** For people, in a line. */
  readonly about: string;
  /** What transformers 5.23 makes wrong of experts in this format, which it joins. */
  readonly caution?: string;
  /** The grid of a format of integers. */
  readonly integers?: IntegerGrid;
  /** Stores integers that were chosen in another way than by rounding to nearest. */
  pack?(codes: IntegerCodes, scaleDtype: DType): QuantisedWeight;
  /** What `config_groups` of the checkpoint's config says of the weights. */
  readonly weights: Readonly<Record<string, unknown>>;
  /** What it says of the inputs of products where servers shall round these too, while they run (W8A8). */
  readonly dynamicActivations?: Readonly<Record<string, unknown>>;
}

/** All of a format but what it is called. */
export type WeightFamily = Omit<WeightFormat, "name" | "about" | "caution">;
