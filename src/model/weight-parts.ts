import type { Checkpoint } from "../checkpoint/checkpoint.js";
import { decodeIntegers, isDType } from "../checkpoint/dtypes.js";
import { quote } from "../checkpoint/json-scanner.js";
import { SCALE_DTYPES } from "../checkpoint/quantised/integer-grid.js";
import type { MatrixShape, StoredPart, WeightStorage } from "../checkpoint/quantised/weight-format.js";
import type { DType, Tensor } from "../checkpoint/tensor.js";
import { pickRanges } from "../checkpoint/tensor-rows.js";
import type { Backend } from "../engine/backend.js";
import { ReamError } from "../errors.js";
import type { TensorNames } from "./architectures/parts.js";
import { quantisationOf } from "./quantisation.js";

/** A weight that is stored as several tensors, `<module>.<suffix>`. */
export interface StoredWeight {
  readonly module: string;
  readonly storage: WeightStorage;
}

const SUFFIX = ".weight";
/** Parts of which every quantised weight has one. */
const TELLING = ["weight_scale", "weight_packed", "qweight"];
const FLOATS: ReadonlySet<string> = new Set(["F64", "F32", "F16", "BF16"]);

/** Whether a tensor is there, or a weight in parts. */
export function hasWeight(tensors: TensorNames, name: string): boolean {
  if (tensors.has(name)) return true;
  if (!name.endsWith(SUFFIX)) return false;
  return tensors.has(`${name}_packed`) || tensors.has(`${name.slice(0, -SUFFIX.length)}.qweight`);
}

/**
 * How a weight is stored in parts; undefined: it is one tensor of floats. What config and tensors say must agree, else
 * `QUANTISED_PARTS`.
 */
export function partsOf(checkpoint: Checkpoint, name: string): StoredWeight | undefined {
  const quantisation = quantisationOf(checkpoint);
  if (quantisation === undefined || !("storageOf" in quantisation) || !name.endsWith(SUFFIX)) return undefined;
  const module = name.slice(0, -SUFFIX.length);
  const storage = quantisation.storageOf(module);
  if (!TELLING.some((suffix) => checkpoint.has(`${module}.${suffix}`))) {
    const plain = checkpoint.tensors.get(name);
    if (plain === undefined || FLOATS.has(plain.dtype)) return undefined;
    throw mismatch(checkpoint, name, `is ${plain.dtype} and has no scales`);
  }
  if (storage === undefined)
    throw mismatch(checkpoint, name, "has scales, but the config says that it is not quantised");
  return { module, storage };
}

/** Names of the tensors of a weight, that of the codes first. */
export function partNames(checkpoint: Checkpoint, { module, storage }: StoredWeight): string[] {
  const suffixes = new Set([storage.codes, ...storage.stored([0, 0], "BF16").map(({ suffix }) => suffix), ...ORDERS]);
  return [...suffixes].map((suffix) => `${module}.${suffix}`).filter((name) => checkpoint.has(name));
}

/** Parts that tell the groups of columns, where they are in an order of their own. */
const ORDERS = ["weight_g_idx", "g_idx"];

/** Checks that all parts of a matrix are there in their shapes and types, else `QUANTISED_PARTS`. */
export function expectParts(checkpoint: Checkpoint, stored: StoredWeight, shape: readonly number[]): void {
  const { module, storage } = stored;
  if (shape.length !== 2)
    throw mismatch(checkpoint, module, `has scales but should be [${shape.join(", ")}], no matrix`);
  const matrix = shape as [number, number];
  const refused = storage.refusal(matrix);
  if (refused !== undefined) throw mismatch(checkpoint, module, `cannot be ${storage.storage}: ${refused}`);
  for (const part of storage.stored(matrix, scaleDtype(checkpoint, stored))) expectPart(checkpoint, module, part);
}

function expectPart(checkpoint: Checkpoint, module: string, { suffix, dtype, shape }: StoredPart): void {
  const name = `${module}.${suffix}`;
  const found = checkpoint.tensors.get(name);
  if (found === undefined) throw mismatch(checkpoint, module, `has no ${suffix}`);
  // One scale for the matrix may have any number of axes.
  const single = [shape, found.shape].every((sizes) => sizes.every((size) => size === 1));
  if (found.dtype === dtype && (single || found.shape.join() === shape.join())) return;
  const [is, expected] = [found, { dtype, shape }].map((part) => `${part.dtype} [${part.shape.join(", ")}]`);
  throw mismatch(checkpoint, name, `is ${is}, expected ${expected}`);
}

/** The dtype of a weight's scales if they may have it; else one that they have not, so that the check tells it. */
export function scaleDtype(checkpoint: Checkpoint, { module }: StoredWeight): DType {
  const dtypes = ["weight_scale", "scales", "weight_scale_inv"].map(
    (suffix) => checkpoint.tensors.get(`${module}.${suffix}`)?.dtype,
  );
  return SCALE_DTYPES.find((dtype) => dtypes.includes(dtype)) ?? "BF16";
}

/** Reads and decodes a weight, or its rows `[begin, end)`. */
export async function readParts(
  checkpoint: Checkpoint,
  stored: StoredWeight,
  rows: readonly [begin: number, end: number] | undefined,
  backend: Backend | undefined,
): Promise<Tensor> {
  const { module, storage } = stored;
  const shape = await shapeOf(checkpoint, stored);
  expectParts(checkpoint, stored, shape);
  const [begin, end] = rows === undefined || storage.turned === true ? [0, shape[0]] : rows;
  const codes = `${module}.${storage.codes}`;
  const parts = new Map<string, Tensor>();
  for (const name of partNames(checkpoint, stored)) {
    const part = await (name === codes && end - begin < shape[0]
      ? checkpoint.readRows(name, begin, end)
      : checkpoint.read(name));
    parts.set(name.slice(module.length + 1), part);
  }
  const decoded = named(checkpoint, module, () => storage.decode(parts, [end - begin, shape[1]], begin, backend));
  return rows === undefined || storage.turned !== true ? decoded : pickRanges(decoded, [rows]);
}

/** The shape of a matrix: that of its codes, or where these are filled up to whole words what `weight_shape` says. */
async function shapeOf(checkpoint: Checkpoint, { module, storage }: StoredWeight): Promise<MatrixShape> {
  const codes = checkpoint.tensors.get(`${module}.${storage.codes}`);
  if (codes === undefined) throw mismatch(checkpoint, module, `has no ${storage.codes}`);
  if (codes.shape.length !== 2) throw mismatch(checkpoint, codes.name, `is [${codes.shape.join(", ")}], no matrix`);
  const upper = storage.shapeOf(codes.shape as [number, number]);
  const name = `${module}.weight_shape`;
  const info = checkpoint.tensors.get(name);
  if (info === undefined || !isDType(info.dtype)) return upper;
  const said = [...decodeIntegers(await checkpoint.read(name))];
  if (said.length === 2 && said.every((size) => size > 0)) return said as [number, number];
  throw mismatch(checkpoint, name, `says [${said.join(", ")}], no shape of a matrix`);
}

/** Calls a decoder; what does not fit, or is no number, is told with the module's name. */
function named<T>(checkpoint: Checkpoint, module: string, call: () => T): T {
  try {
    return call();
  } catch (error) {
    if (error instanceof RangeError) throw mismatch(checkpoint, module, `is damaged: ${error.message}`);
    if (!(error instanceof ReamError)) throw error;
    throw new ReamError(error.code, `${quote(module)}: ${error.message}`, {
      where: checkpoint.folder,
      ...(error.hint !== undefined && { hint: error.hint }),
      cause: error,
    });
  }
}

function mismatch(checkpoint: Checkpoint, name: string, what: string): ReamError {
  return new ReamError("QUANTISED_PARTS", `${quote(name)} ${what}`, {
    where: checkpoint.folder,
    hint: "The checkpoint is incomplete, or quantization_config of config.json is not its own.",
  });
}
