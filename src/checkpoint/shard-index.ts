import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { basename } from "node:path";
import { ReamError } from "../errors.js";
import { fileError } from "./file-pool.js";
import { encodingError } from "./json.js";
import { JsonScanner, quote } from "./json-scanner.js";
import { checkFileName } from "./paths.js";

export const INDEX_NAME = "model.safetensors.index.json";

const MAX_INDEX_BYTES = 250_000_000;
const MAX_ENTRIES = 2_000_000;
const MAX_SHARDS = 10_000;
const CHUNK_BYTES = 1 << 18;

/** Content of model.safetensors.index.json. */
export interface ShardIndex {
  /** File of each tensor. */
  readonly files: ReadonlyMap<string, string>;
  /** `metadata.total_size` as it stands there, if it does. */
  readonly totalSize: unknown;
}

/** Reads an index as a stream. The names of files are checked, but not that the files exist. */
export async function readShardIndex(path: string): Promise<ShardIndex> {
  const name = basename(path);
  try {
    const { size } = await stat(path);
    if (size > MAX_INDEX_BYTES) throw indexError(name, `${size} bytes are too many, at most ${MAX_INDEX_BYTES}`);
    return await parseShardIndex(createReadStream(path, { highWaterMark: CHUNK_BYTES }), name);
  } catch (error) {
    throw fileError(error, path);
  }
}

/** Parses an index from chunks of its UTF-8 text. */
export async function parseShardIndex(
  chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  name = INDEX_NAME,
): Promise<ShardIndex> {
  const reader = new IndexReader(name);
  const decoder = new TextDecoder("utf-8", { fatal: true });
  const decode = (chunk?: Uint8Array): string => {
    try {
      return decoder.decode(chunk, { stream: chunk !== undefined });
    } catch {
      throw encodingError(name);
    }
  };
  for await (const chunk of chunks) reader.read(decode(chunk), false);
  reader.read(decode(), true);
  return reader.result();
}

class IndexReader {
  private readonly scanner: JsonScanner;
  private readonly files = new Map<string, string>();
  /** One string for each file, however often it is named. */
  private readonly names = new Map<string, string>();
  private totalSize: unknown;
  private hasMap = false;
  /** Keys that lead to the value at hand, the outermost first. */
  private readonly path: string[] = [];

  constructor(private readonly name: string) {
    this.scanner = new JsonScanner("", name, false);
  }

  read(text: string, final: boolean): void {
    const { scanner } = this;
    scanner.feed(text, final);
    for (let event = scanner.next(); event !== "more" && event !== "end"; event = scanner.next()) {
      if (event === "key") {
        this.path.length = scanner.depth - 1;
        this.path.push(scanner.value as string);
      } else if (event !== "}" && event !== "]") {
        this.readValue();
      }
    }
  }

  private readValue(): void {
    const { event, value } = this.scanner;
    // An object or array is open already when its event is seen.
    const depth = this.scanner.depth - (event === "{" || event === "[" ? 1 : 0);
    const [section, key] = this.path;
    if (depth === 0 && event !== "{") throw indexError(this.name, "it is not a JSON object");
    if (depth === 1 && section === "weight_map") {
      if (event !== "{") throw indexError(this.name, "weight_map is not an object");
      this.hasMap = true;
    } else if (depth === 2 && section === "weight_map") {
      if (event !== "string") throw indexError(this.name, `weight_map ${quote(key!)} is not the name of a file`);
      this.add(key!, value as string);
    } else if (depth === 2 && section === "metadata" && key === "total_size") {
      this.totalSize = event === "{" || event === "[" ? event : value;
    }
  }

  private add(tensor: string, file: string): void {
    let known = this.names.get(file);
    if (known === undefined) {
      known = checkFileName(file, `${this.name}, weight_map ${quote(tensor)}`);
      if (this.names.size === MAX_SHARDS) throw indexError(this.name, `more than ${MAX_SHARDS} files`);
      this.names.set(known, known);
    }
    if (this.files.size === MAX_ENTRIES) throw indexError(this.name, `more than ${MAX_ENTRIES} tensors`);
    this.files.set(tensor, known);
  }

  result(): ShardIndex {
    if (!this.hasMap) throw indexError(this.name, "weight_map is missing");
    return { files: this.files, totalSize: this.totalSize };
  }
}

function indexError(name: string, message: string): ReamError {
  return new ReamError("INDEX_INVALID", message, { where: name, hint: "Fetch the file again." });
}
