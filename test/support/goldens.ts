import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { decode, decodeIntegers } from "../../src/checkpoint/dtypes.js";
import { SafetensorsFile } from "../../src/checkpoint/safetensors.js";

const root = fileURLToPath(new URL("../../", import.meta.url)).replace(/dist[\\/]$/, "");

/** The goldens that are committed here. */
export const GOLDENS = join(root, "test/goldens");

/** Folders of goldens: those committed here, and the complete reference data where it lies beside the project. */
export const GOLDEN_ROOTS = [GOLDENS, join(root, "../shared/goldens")].filter((folder) => existsSync(folder));

/** Forward goldens of every family, as name and folder. */
export function forwardCases(): [name: string, folder: string][] {
  const folder = join(GOLDENS, "forward");
  return readdirSync(folder).map((name) => [name, join(folder, name)]);
}

/** All tensors of a safetensors file as numbers. */
export async function readTensors(
  path: string,
): Promise<Map<string, { shape: readonly number[]; values: ArrayLike<number> }>> {
  const file = await SafetensorsFile.open(path);
  const tensors = new Map<string, { shape: readonly number[]; values: ArrayLike<number> }>();
  for (const name of file.tensors.keys()) {
    const tensor = await file.read(name);
    const values = tensor.dtype.startsWith("I") ? decodeIntegers(tensor) : decode(tensor);
    tensors.set(name, { shape: tensor.shape, values });
  }
  await file.close();
  return tensors;
}

export function readJson<T>(path: string): T {
  return JSON.parse(readFileSync(path, "utf8")) as T;
}

/** Largest absolute difference; infinite where the lengths differ or a value is not finite. */
export function largestDifference(a: ArrayLike<number>, b: ArrayLike<number>): number {
  if (a.length !== b.length) return Number.POSITIVE_INFINITY;
  let largest = 0;
  for (let i = 0; i < a.length; i++) {
    const difference = Math.abs(a[i]! - b[i]!);
    if (!(difference <= largest)) largest = Number.isNaN(difference) ? Number.POSITIVE_INFINITY : difference;
  }
  return largest;
}

/** Largest |a - b| / max(|b|, floor). */
export function largestRelativeDifference(a: ArrayLike<number>, b: ArrayLike<number>, floor = 1e-3): number {
  if (a.length !== b.length) return Number.POSITIVE_INFINITY;
  let largest = 0;
  for (let i = 0; i < a.length; i++) {
    const difference = Math.abs(a[i]! - b[i]!) / Math.max(Math.abs(b[i]!), floor);
    if (!(difference <= largest)) largest = Number.isNaN(difference) ? Number.POSITIVE_INFINITY : difference;
  }
  return largest;
}
