import { open, readFile, stat } from "node:fs/promises";
import { decodeIntegers } from "../checkpoint/dtypes.js";
import { isJsonObject, parseJson } from "../checkpoint/json.js";
import { SafetensorsFile } from "../checkpoint/safetensors.js";
import { ReamError } from "../errors.js";
import type { TokenBatch } from "../model/layer.js";

/** Token ids that a file holds: the batch, and a second one of another length where there is one (`_b`). */
export interface TokenInputs {
  readonly first: TokenBatch;
  readonly second: TokenBatch | undefined;
}

const MAX_JSON_BYTES = 64e6;
const HINT =
  "Give safetensors with input_ids [sequences, length] (attention_mask, input_ids_b), or JSON: [1, 2] or [[1, 2], [3, 4]].";

function invalid(where: string, message: string, cause?: unknown): ReamError {
  return new ReamError("IDS_INVALID", message, { where, hint: HINT, cause });
}

/** Reads token ids from safetensors or JSON. Errors: IDS_INVALID, and those of both formats. */
export async function readTokenFile(path: string): Promise<TokenInputs> {
  const head = await firstBytes(path);
  // A safetensors file begins with the length of its header, whose highest byte is zero; JSON has no zero byte.
  return head.length === 8 && head[7] === 0 ? readSafetensors(path) : readJson(path);
}

async function firstBytes(path: string): Promise<Uint8Array> {
  try {
    const file = await open(path, "r");
    try {
      const { buffer, bytesRead } = await file.read(new Uint8Array(8), 0, 8, 0);
      return buffer.subarray(0, bytesRead);
    } finally {
      await file.close();
    }
  } catch (cause) {
    throw invalid(path, `the file cannot be read: ${(cause as Error).message}`, cause);
  }
}

async function readSafetensors(path: string): Promise<TokenInputs> {
  const file = await SafetensorsFile.open(path);
  try {
    const matrix = async (name: string) => {
      const tensor = await file.read(name);
      const [sequences, length] = tensor.shape;
      if (tensor.shape.length !== 2 || sequences === 0 || length === 0) {
        throw invalid(path, `${name} is [${tensor.shape.join(", ")}], expected [sequences, length]`);
      }
      return { sequences: sequences!, length: length!, values: decodeIntegers(tensor) };
    };
    const batch = async (suffix: string): Promise<TokenBatch | undefined> => {
      if (!file.tensors.has(`input_ids${suffix}`)) return undefined;
      const { sequences, length, values: ids } = await matrix(`input_ids${suffix}`);
      const maskName = `attention_mask${suffix}`;
      if (!file.tensors.has(maskName)) return { sequences, length, ids };
      const mask = await matrix(maskName);
      if (
        mask.sequences !== sequences ||
        mask.length !== length ||
        mask.values.some((value) => value !== 0 && value !== 1)
      ) {
        throw invalid(path, `${maskName} is not zeros and ones in the shape of the ids`);
      }
      return { sequences, length, ids, mask: Uint8Array.from(mask.values) };
    };
    const first = await batch("");
    if (first === undefined) throw invalid(path, "the file has no tensor input_ids");
    return { first, second: await batch("_b") };
  } finally {
    await file.close();
  }
}

async function readJson(path: string): Promise<TokenInputs> {
  const { size } = await stat(path);
  if (size > MAX_JSON_BYTES) throw invalid(path, `${size} bytes of JSON are too many, at most ${MAX_JSON_BYTES}`);
  const value = parseJson(await readFile(path, "utf8"), path);
  if (Array.isArray(value)) return { first: parseRows(value, path), second: undefined };
  if (!isJsonObject(value)) throw invalid(path, "that is neither a list nor an object");
  const { input_ids: ids, input_ids_b: idsB } = value;
  return { first: parseRows(ids, path), second: idsB === undefined ? undefined : parseRows(idsB, path) };
}

/** Token ids `[1, 2, 3]` of one sequence or `[[1, 2], [3, 4]]` of several as long ones. Errors: IDS_INVALID. */
export function parseRows(value: unknown, where: string): TokenBatch {
  const isRow = (row: unknown): row is number[] =>
    Array.isArray(row) && row.length > 0 && row.every((id) => Number.isSafeInteger(id) && id >= 0 && id < 2 ** 31);
  const rows = isRow(value) ? [value] : value;
  if (!Array.isArray(rows) || rows.length === 0 || !rows.every(isRow)) {
    throw invalid(where, "that is no list of token ids, and no list of such lists");
  }
  const length = rows[0]!.length;
  const other = rows.find((row) => row.length !== length);
  if (other !== undefined) throw invalid(where, `sequences of ${length} and ${other.length} tokens stand side by side`);
  return { sequences: rows.length, length, ids: Int32Array.from(rows.flat()) };
}
