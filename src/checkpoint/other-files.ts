import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { ReamError } from "../errors.js";
import { resolveInside } from "./paths.js";
import { INDEX_NAME } from "./shard-index.js";

/** Weights in any format; those of a folder beside the checkpoint's own are another copy of the model. */
const WEIGHTS = /\.(safetensors|bin|pt|pth|ckpt|h5|msgpack|gguf|ggml|onnx|onnx_data|tflite|npz)$|\.index\.json$/;
const MAX_FILES = 10_000;
const MAX_DEPTH = 4;

/**
 * Files of a checkpoint's folder besides config.json, weights and their index, such as the tokenizer's: relative paths
 * with "/", sorted. Hidden ones, and subfolders that hold weights (original/, onnx/), are left out; so are links that
 * lead nowhere or out of the folder, with a warning.
 */
export async function otherFiles(folder: string, warnings: string[]): Promise<string[]> {
  const own = await visibleFiles(folder, "", 1, warnings);
  return own.filter((name) => name !== "config.json" && name !== INDEX_NAME && !WEIGHTS.test(name)).sort();
}

async function visibleFiles(folder: string, prefix: string, depth: number, warnings: string[]): Promise<string[]> {
  const files: string[] = [];
  for (const entry of await readdir(join(folder, prefix), { withFileTypes: true })) {
    const name = prefix + entry.name;
    if (entry.name.startsWith(".")) continue;
    if (entry.isFile() || (entry.isSymbolicLink() && (await isFileInside(folder, name, warnings)))) files.push(name);
    if (entry.isDirectory() && depth < MAX_DEPTH) {
      const inner = await visibleFiles(folder, `${name}/`, depth + 1, warnings);
      if (!inner.some((file) => WEIGHTS.test(file))) files.push(...inner);
    }
    if (files.length > MAX_FILES) {
      throw new ReamError("CHECKPOINT_FILES", `more than ${MAX_FILES} files`, {
        where: folder,
        hint: "Give the folder of one checkpoint alone.",
      });
    }
  }
  return files;
}

async function isFileInside(folder: string, name: string, warnings: string[]): Promise<boolean> {
  try {
    return (await stat(await resolveInside(folder, name))).isFile();
  } catch (error) {
    if (!(error instanceof ReamError)) throw error;
    warnings.push(`${name} is left out: ${error.message}.`);
    return false;
  }
}
