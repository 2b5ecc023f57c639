/**
 * Writes a synthetic checkpoint with layers of the shape of Qwen3-30B-A3B's, and calibration tokens for it:
 *
 *     npm run build && node dist/bench/synthetic.js --out FOLDER [--layers N] [--experts N] [--sequences N]
 *
 * The same options give the same bytes. A layer has 1.26 GB. `ream compress FOLDER --tokens FOLDER/tokens.safetensors` runs on it.
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { encode } from "../src/checkpoint/dtypes.js";
import { encodeSafetensors } from "../src/checkpoint/safetensors-encode.js";
import type { Tensor } from "../src/checkpoint/tensor.js";
import { Random } from "../src/random.js";
import { type ModelSizes, writeModel } from "./decode-checkpoint.js";

/** A layer of Qwen3-30B-A3B; the vocabulary is smaller than its, because it has no part in the times. */
export const LAYER = {
  ...{ hidden: 2048, heads: 32, keyValueHeads: 4, headSize: 128 },
  ...{ experts: 128, topK: 8, width: 768, vocabulary: 8192 },
} as const satisfies Omit<ModelSizes, "layers">;

/** Tokens of a sequence, as in the paper. */
export const LENGTH = 512;

/** Writes a checkpoint whose routers choose some experts far oftener than others, as trained ones do. */
export function writeSynthetic(folder: string, layers: number, experts: number = LAYER.experts): void {
  const sizes = { ...LAYER, layers, experts };
  writeModel(folder, sizes, (layer) => plausibleRouter(sizes, layer));
}

/** Writes `sequences` sequences of random tokens as a file for `--tokens`; returns its path. */
export function writeTokens(folder: string, sequences: number): string {
  const random = new Random(sequences);
  const ids = Int32Array.from({ length: sequences * LENGTH }, () => random.below(LAYER.vocabulary));
  const tensor: Tensor = { dtype: "I32", shape: [sequences, LENGTH], data: new Uint8Array(ids.buffer) };
  const path = join(folder, `tokens-${sequences}.safetensors`);
  writeFileSync(path, encodeSafetensors(new Map([["input_ids", tensor]])));
  return path;
}

/**
 * Rows whose logits for a normed input have a standard deviation of about 1.5, more for experts that are chosen oftener:
 * the largest of 128 softmax scores is then 0.1 to 0.3.
 */
function plausibleRouter({ experts, hidden }: ModelSizes, layer: number): Tensor {
  const random = new Random(7919 * (layer + 1));
  const values = new Float32Array(experts * hidden);
  for (let e = 0; e < experts; e++) {
    const scale = (1.5 / Math.sqrt(hidden)) * Math.exp(0.25 * random.normal());
    for (let i = 0; i < hidden; i++) values[e * hidden + i] = scale * random.normal();
  }
  return { dtype: "BF16", shape: [experts, hidden], data: encode("BF16", values) };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { values: options } = parseArgs({
    options: {
      out: { type: "string" },
      layers: { type: "string", default: "2" },
      experts: { type: "string", default: String(LAYER.experts) },
      sequences: { type: "string", default: "8" },
    },
  });
  if (options.out === undefined) throw new Error("give --out FOLDER");
  writeSynthetic(options.out, Number(options.layers), Number(options.experts));
  console.log(writeTokens(options.out, Number(options.sequences)));
}
