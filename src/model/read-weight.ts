import type { Checkpoint } from "../checkpoint/checkpoint.js";
import { isDType } from "../checkpoint/dtypes.js";
import { quote } from "../checkpoint/json-scanner.js";
import { type BlockSize, decodeFp8Blocks, scaleGrid } from "../checkpoint/quantised/fp8-blocks.js";
import { fp8Blocks } from "../checkpoint/quantised/scaled-e4m3.js";
import type { Tensor } from "../checkpoint/tensor.js";
import type { Backend } from "../engine/backend.js";
import { ReamError } from "../errors.js";
import { OTHER_PARTS, quantisationOf, storedNumbers } from "./quantisation.js";
import type { NamedTensor } from "./tensor-list.js";
import { expectParts, partNames, partsOf, readParts, type StoredWeight } from "./weight-parts.js";

/**
 * Reads a weight matrix, or its rows `[begin, end)`: floats as they are stored, FP8 of DeepSeek with its scales decoded to
 * F32, weights of compressed-tensors to the dtype that these give them. Errors: QUANTISED_SCALES, QUANTISED_PARTS,
 * QUANTISED_VALUE.
 *
 * @param backend decodes faster than plain TypeScript, to the same bits
 */
export async function readWeight(
  checkpoint: Checkpoint,
  name: string,
  rows?: readonly [begin: number, end: number],
  backend?: Backend,
): Promise<Tensor> {
  const stored = partsOf(checkpoint, name);
  if (stored !== undefined) return readParts(checkpoint, stored, rows, backend);
  const scales = scalesOf(checkpoint, name);
  const weight = await (rows === undefined ? checkpoint.read(name) : checkpoint.readRows(name, ...rows));
  if (scales === undefined) return weight;
  return decodeFp8Blocks(weight, await checkpoint.read(scales.name), scales.block, name, rows?.[0], backend);
}

/** How a weight is stored in several tensors; undefined: it is one. Errors: QUANTISED_SCALES, QUANTISED_PARTS. */
export function storedAs(checkpoint: Checkpoint, name: string): StoredWeight | undefined {
  const stored = partsOf(checkpoint, name);
  if (stored !== undefined) return stored;
  const scales = checkpoint.tensors.has(name) ? scalesOf(checkpoint, name) : undefined;
  if (scales === undefined || !name.endsWith(".weight")) return undefined;
  return { module: name.slice(0, -".weight".length), storage: fp8Blocks(scales.block, scales.powersOfTwo) };
}

/**
 * The quantised weights of a checkpoint, by the name of the tensor of their codes, and the names of all other tensors that
 * they consist of.
 */
export function quantisedWeights(checkpoint: Checkpoint): {
  readonly weights: ReadonlyMap<string, NamedTensor>;
  readonly others: ReadonlySet<string>;
} {
  const weights = new Map<string, NamedTensor>();
  const others = new Set<string>();
  if (quantisationOf(checkpoint) === undefined) return { weights, others };
  for (const { name, shape } of checkpoint.tensors.values()) {
    const found = /^(.*)\.(weight|weight_packed|qweight)$/.exec(name);
    if (found === null) continue;
    const module = found[1]!;
    const stored = storedAs(checkpoint, `${module}.weight`);
    if (stored === undefined || stored.storage.codes !== found[2]) continue;
    weights.set(name, { name: `${module}.weight`, shape: stored.storage.shapeOf(shape as [number, number]) });
    for (const suffix of OTHER_PARTS) if (checkpoint.has(`${module}.${suffix}`)) others.add(`${module}.${suffix}`);
  }
  return { weights, others };
}

/** Checks that a weight is there in a shape, with the scales and other parts that it needs. */
export function expectWeight(checkpoint: Checkpoint, name: string, shape: readonly number[]): void {
  const stored = partsOf(checkpoint, name);
  if (stored !== undefined) {
    expectParts(checkpoint, stored, shape);
    return;
  }
  checkpoint.expectShape(name, shape);
  scalesOf(checkpoint, name);
}

/** Names of the tensors that a weight is stored as: its own, its scales and other parts. */
export function storedNames(checkpoint: Checkpoint, name: string): string[] {
  const stored = partsOf(checkpoint, name);
  const names = stored === undefined ? [name, scaleName(name)] : partNames(checkpoint, stored);
  checkpoint.info(names[0]!);
  return names.filter((part) => checkpoint.tensors.has(part));
}

/** Bytes of a tensor and of its scales and other parts. */
export function weightBytes(checkpoint: Checkpoint, name: string): number {
  return storedNames(checkpoint, name).reduce((sum, part) => sum + checkpoint.info(part).bytes, 0);
}

/** Numbers of a weight. */
export function weightNumbers(checkpoint: Checkpoint, name: string): number {
  const stored = partsOf(checkpoint, name);
  const codes = stored === undefined ? name : `${stored.module}.${stored.storage.codes}`;
  return storedNumbers(checkpoint.info(codes), quantisationOf(checkpoint));
}

function scaleName(name: string): string {
  return `${name}_scale_inv`;
}

/** The scales of an FP8 weight, checked; undefined where its values are those that are stored. */
function scalesOf(
  checkpoint: Checkpoint,
  name: string,
): { name: string; block: BlockSize; powersOfTwo: boolean } | undefined {
  const { dtype, shape, file } = checkpoint.info(name);
  if (!dtype.startsWith("F8_")) return undefined;
  const quantisation = quantisationOf(checkpoint);
  const scales = checkpoint.tensors.get(scaleName(name));
  if (quantisation?.method !== "fp8-blocks" && scales === undefined) return undefined;
  const fail = (what: string, hint = "The checkpoint is incomplete, or quantised in another way."): never => {
    throw new ReamError("QUANTISED_SCALES", `${quote(name)} ${what}`, { where: `${checkpoint.folder}, ${file}`, hint });
  };
  if (quantisation?.method !== "fp8-blocks")
    return fail("has scales", 'quantization_config of config.json should say quant_method "fp8".');
  if (dtype !== "F8_E4M3") return fail(`is ${dtype}, only F8_E4M3 is supported`);
  if (scales === undefined) return fail(`is ${dtype} and has no scales ${quote(scaleName(name))}`);
  const [rows, columns] = shape;
  if (rows === undefined || columns === undefined || shape.length !== 2)
    return fail(`[${shape.join(", ")}] has scales but is no matrix`);
  const { block, powersOfTwo } = quantisation;
  const grid = scaleGrid([rows, columns], block);
  if (scales.shape.join() !== grid.join()) {
    const found = `[${scales.shape.join(", ")}]${scaleKind(scales.shape, rows)}`;
    const expected = `[${grid.join(", ")}] (one for each block of ${block.join(" x ")})`;
    return fail(`[${rows}, ${columns}] has scales ${found}, expected ${expected}`);
  }
  if (!isDType(scales.dtype) || !["F32", "BF16", "F16"].includes(scales.dtype))
    return fail(`has scales of type ${scales.dtype}, expected F32 or BF16`);
  return { name: scales.name, block, powersOfTwo };
}

/** Names the kinds of scales that other methods have. */
function scaleKind(shape: readonly number[], rows: number): string {
  const count = shape.reduce((product, size) => product * size, 1);
  if (count === 1) return " (one for the whole tensor)";
  return count === rows && shape[0] === rows ? " (one for each row)" : "";
}
