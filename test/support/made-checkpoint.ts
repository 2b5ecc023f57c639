import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { onTestFinished } from "vitest";
import { Checkpoint } from "../../src/checkpoint/checkpoint.js";
import { bytesPerElement } from "../../src/checkpoint/dtypes.js";
import { encodeSafetensors } from "../../src/checkpoint/safetensors-encode.js";
import type { DType, Tensor } from "../../src/checkpoint/tensor.js";
import type { Random } from "../../src/random.js";

/** A tensor of random bytes. Floats of them may be anything but NaN, whose exponent has to be all ones. */
export function randomBytes(random: Random, dtype: DType, ...shape: number[]): Tensor {
  const size = bytesPerElement(dtype);
  const data = Uint8Array.from({ length: size * shape.reduce((a, b) => a * b, 1) }, () => random.below(256));
  for (let i = size - 1; i < data.length; i += size) data[i]! &= 0xbf;
  return { dtype, shape, data };
}

/** Writes tensors and a config into a folder and opens it; it is closed when the test ends. */
export async function madeCheckpoint(
  folder: string,
  tensors: Readonly<Record<string, Tensor>>,
  config: object = {},
): Promise<Checkpoint> {
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, "config.json"), JSON.stringify(config));
  writeFileSync(join(folder, "model.safetensors"), encodeSafetensors(new Map(Object.entries(tensors))));
  const checkpoint = await Checkpoint.open(folder);
  onTestFinished(() => checkpoint.close());
  return checkpoint;
}
