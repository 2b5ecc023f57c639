import type { Dirent } from "node:fs";
import { readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { ReamError } from "../errors.js";
import { FilePool, fileError } from "./file-pool.js";
import { decodeUtf8, isJsonObject, type JsonObject, parseJson } from "./json.js";
import { quote } from "./json-scanner.js";
import { otherFiles } from "./other-files.js";
import { resolveInside } from "./paths.js";
import { SafetensorsFile } from "./safetensors.js";
import { INDEX_NAME, readShardIndex, type ShardIndex } from "./shard-index.js";
import type { Tensor, TensorInfo } from "./tensor.js";

const CONFIG_NAME = "config.json";
const SINGLE_NAME = "model.safetensors";
const MAX_CONFIG_BYTES = 10_000_000;
/** Shards whose headers are read at the same time. */
const PARALLEL = 8;

/**
 * A model's folder as Hugging Face lays it out: config.json, and tensors in one or several safetensors files. Opening
 * reads and checks all headers; data is read when it is asked for, so that memory does not depend on the model's size.
 */
export class Checkpoint {
  private constructor(
    readonly folder: string,
    /** Text of config.json without a byte order mark. */
    readonly configText: string,
    readonly config: JsonObject,
    /** All tensors, ordered by file and position. */
    readonly tensors: ReadonlyMap<string, TensorInfo>,
    /** `__metadata__` of the safetensors files, the first file's value where they differ. */
    readonly metadata: ReadonlyMap<string, string>,
    /** The folder's other files that belong to the model, as relative paths. */
    readonly files: readonly string[],
    /** What is odd about the checkpoint but does not hinder its use. */
    readonly warnings: readonly string[],
    private readonly shards: ReadonlyMap<string, SafetensorsFile>,
    private readonly pool: FilePool,
  ) {}

  /** Opens a folder. Every way in which it can be incomplete or contradict itself is a `ReamError`. */
  static async open(folder: string): Promise<Checkpoint> {
    const pool = new FilePool();
    try {
      const names = await listFolder(folder);
      const configText = await readConfigText(folder, names);
      const config = parseConfig(configText);
      const warnings: string[] = [];
      const index = names.has(INDEX_NAME)
        ? await readShardIndex(await resolveInside(folder, INDEX_NAME))
        : singleFile(folder, names);
      const shards = await openShards(folder, index, names, pool);
      const tensors =
        index === undefined ? [...shards.values()].flatMap(tensorsOf) : matchIndex(index, shards, warnings);
      for (const name of names) {
        if (name.endsWith(".safetensors") && !shards.has(name))
          warnings.push(`${name} is not part of the model and is left out.`);
      }
      const metadata = new Map([...shards.values()].reverse().flatMap((shard) => [...shard.metadata]));
      const byName = new Map(tensors.map((tensor) => [tensor.name, tensor]));
      const files = await otherFiles(folder, warnings);
      return new Checkpoint(folder, configText, config, byName, metadata, files, warnings, shards, pool);
    } catch (error) {
      await pool.close();
      throw error;
    }
  }

  has(name: string): boolean {
    return this.tensors.has(name);
  }

  /** What is known of a tensor, else `TENSOR_MISSING`. */
  info(name: string): TensorInfo {
    const info = this.tensors.get(name);
    if (info === undefined) {
      throw new ReamError("TENSOR_MISSING", `the checkpoint has no tensor ${quote(name)}`, {
        where: this.folder,
        hint: "The checkpoint is incomplete, or its family stores its tensors in another way.",
      });
    }
    return info;
  }

  /** Checks that a tensor is there in a shape, else `TENSOR_MISSING` or `TENSOR_SHAPE`. */
  expectShape(name: string, shape: readonly number[]): void {
    const info = this.info(name);
    if (info.shape.length === shape.length && shape.every((size, axis) => size === info.shape[axis])) return;
    const message = `${quote(name)} is [${info.shape.join(", ")}], expected [${shape.join(", ")}]`;
    throw new ReamError("TENSOR_SHAPE", message, {
      where: `${this.folder}, ${info.file}`,
      hint: "config.json and the tensors are not of the same model.",
    });
  }

  /** Reads a whole tensor of at most 2 GiB. */
  async read(name: string): Promise<Tensor> {
    return this.shard(name).read(name);
  }

  /** Reads rows `[begin, end)` of a tensor along its first axis. */
  async readRows(name: string, begin: number, end: number): Promise<Tensor> {
    return this.shard(name).read(name, [begin, end]);
  }

  /** Yields the bytes of a tensor of any dtype and size for copying. The array is reused from step to step. */
  chunks(name: string): AsyncGenerator<Uint8Array> {
    return this.shard(name).chunks(name);
  }

  /** Reads tensors so that the system's cache has them. */
  async touch(names: readonly string[], scratch: Uint8Array<ArrayBuffer>): Promise<void> {
    await Promise.all(names.map((name) => this.shard(name).touch(name, scratch)));
  }

  async close(): Promise<void> {
    await this.pool.close();
  }

  private shard(name: string): SafetensorsFile {
    return this.shards.get(this.info(name).file)!;
  }
}

async function listFolder(folder: string): Promise<Set<string>> {
  const entries = await readdir(folder, { withFileTypes: true }).catch((error: NodeJS.ErrnoException): Dirent[] => {
    throw new ReamError("CHECKPOINT_MISSING", `the folder of the model cannot be read (${error.code})`, {
      where: folder,
      hint: "Give the folder that holds config.json.",
      cause: error,
    });
  });
  return new Set(entries.filter((entry) => entry.isFile() || entry.isSymbolicLink()).map((entry) => entry.name));
}

async function readConfigText(folder: string, names: ReadonlySet<string>): Promise<string> {
  const where = join(folder, CONFIG_NAME);
  if (!names.has(CONFIG_NAME)) {
    throw new ReamError("CONFIG_MISSING", "the folder has no config.json", {
      where: folder,
      hint: "Give the folder of a Hugging Face checkpoint; those of other formats must be converted first.",
    });
  }
  const path = await resolveInside(folder, CONFIG_NAME);
  try {
    const { size } = await stat(path);
    if (size > MAX_CONFIG_BYTES) {
      throw new ReamError("CONFIG_SIZE", `${size} bytes are too many, at most ${MAX_CONFIG_BYTES}`, { where });
    }
    const text = decodeUtf8(await readFile(path), CONFIG_NAME);
    return text.startsWith("\uFEFF") ? text.slice(1) : text;
  } catch (error) {
    throw fileError(error, where);
  }
}

/** Parses the text of a config.json: strict in syntax, save that Python's NaN and Infinity are numbers. */
export function parseConfig(text: string): JsonObject {
  const config = parseJson(text, CONFIG_NAME, { nonFinite: true });
  if (!isJsonObject(config)) throw new ReamError("CONFIG_VALUE", "it is not a JSON object", { where: CONFIG_NAME });
  return config;
}

/** Makes sure that a folder without an index has its tensors in the one file that needs none. */
function singleFile(folder: string, names: ReadonlySet<string>): undefined {
  if (names.has(SINGLE_NAME)) return undefined;
  const found = [...names].filter((name) => name.endsWith(".safetensors")).length;
  if (found > 1) {
    throw new ReamError("INDEX_MISSING", `${found} safetensors files but no ${INDEX_NAME}`, {
      where: folder,
      hint: "The download is incomplete; fetch the index too.",
    });
  }
  throw new ReamError("WEIGHTS_MISSING", `the folder has neither ${SINGLE_NAME} nor ${INDEX_NAME}`, {
    where: folder,
    hint: found === 1 ? `Rename the safetensors file to ${SINGLE_NAME}.` : "Convert the weights to safetensors first.",
  });
}

async function openShards(
  folder: string,
  index: ShardIndex | undefined,
  names: ReadonlySet<string>,
  pool: FilePool,
): Promise<Map<string, SafetensorsFile>> {
  const files = index === undefined ? [SINGLE_NAME] : [...new Set(index.files.values())].sort();
  const missing = files.filter((file) => !file.includes("/") && !names.has(file));
  if (missing.length > 0) {
    throw new ReamError(
      "SHARD_MISSING",
      `${missing.length} of ${files.length} files are missing, first ${quote(missing[0]!)}`,
      {
        where: folder,
        hint: "The download is incomplete; fetch them.",
      },
    );
  }
  const shards = new Map<string, SafetensorsFile>();
  for (let first = 0; first < files.length; first += PARALLEL) {
    const some = files.slice(first, first + PARALLEL);
    const opened = await Promise.all(
      some.map(async (file) => SafetensorsFile.open(await resolveInside(folder, file), file, pool)),
    );
    for (const [i, shard] of opened.entries()) shards.set(some[i]!, shard);
  }
  return shards;
}

function tensorsOf(shard: SafetensorsFile): TensorInfo[] {
  return [...shard.tensors.values()];
}

/** Checks that index and files tell the same about every tensor. */
function matchIndex(index: ShardIndex, shards: ReadonlyMap<string, SafetensorsFile>, warnings: string[]): TensorInfo[] {
  const fail = (message: string): never => {
    throw new ReamError("INDEX_MISMATCH", message, {
      where: INDEX_NAME,
      hint: "Index and files are not of the same version; fetch them again.",
    });
  };
  for (const [name, file] of index.files) {
    if (!shards.get(file)!.tensors.has(name))
      fail(`${quote(name)} is not in ${quote(file)}, where the index says it is`);
  }
  const tensors = [...shards.values()].flatMap(tensorsOf);
  for (const { name, file } of tensors) {
    const indexed = index.files.get(name);
    if (indexed === undefined) fail(`${quote(name)} in ${quote(file)} is not in the index`);
    if (indexed !== file) fail(`${quote(name)} is both in ${quote(file)} and in ${quote(indexed!)}`);
  }
  const total = tensors.reduce((sum, { bytes }) => sum + bytes, 0);
  if (index.totalSize !== undefined && index.totalSize !== total) {
    warnings.push(`${INDEX_NAME} says total_size ${quote(String(index.totalSize))}, the tensors have ${total} bytes.`);
  }
  return tensors;
}
