import { type FileHandle, open } from "node:fs/promises";
import { basename } from "node:path";
import { ReamError } from "../errors.js";
import { type Calibration, calibrationDigest } from "./calibration.js";

const MAX_HEADER = 2 ** 20;
const MAX_TOKENS = 2 ** 31 - 1;

/** Number types that ids and masks come in, and how to read element `index` of their little-endian data. */
const READERS: Readonly<Record<string, { bytes: number; read: (view: DataView, index: number) => number }>> = {
  I64: { bytes: 8, read: (view, index) => Number(view.getBigInt64(index * 8, true)) },
  I32: { bytes: 4, read: (view, index) => view.getInt32(index * 4, true) },
  U32: { bytes: 4, read: (view, index) => view.getUint32(index * 4, true) },
  U8: { bytes: 1, read: (view, index) => view.getUint8(index) },
  BOOL: { bytes: 1, read: (view, index) => view.getUint8(index) },
};

interface StoredTensor {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly begin: number;
  readonly end: number;
}

function invalid(path: string, message: string, cause?: unknown): ReamError {
  return new ReamError("CALIBRATION_TOKENS", message, {
    where: path,
    hint: "Save input_ids and attention_mask [sequences, length] as integers with safetensors.",
    cause,
  });
}

async function readExactly(file: FileHandle, position: number, length: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(length);
  for (let done = 0; done < length; ) {
    const { bytesRead } = await file.read(bytes, done, length - done, position + done);
    if (bytesRead === 0) throw new Error("the file ends early");
    done += bytesRead;
  }
  return bytes;
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

/** The entry of a tensor in the header, checked against the size of the file's data; undefined if there is none. */
function entryOf(header: Record<string, unknown>, name: string, dataBytes: number): StoredTensor | undefined {
  if (!Object.hasOwn(header, name)) return undefined;
  const { dtype, shape, data_offsets: offsets } = (header[name] ?? {}) as Record<string, unknown>;
  const reader = typeof dtype === "string" && Object.hasOwn(READERS, dtype) ? READERS[dtype] : undefined;
  if (reader === undefined)
    throw new Error(`${name} has type ${String(dtype)}, not one of ${Object.keys(READERS).join(", ")}`);
  if (!Array.isArray(shape) || shape.length !== 2 || !shape.every(isCount))
    throw new Error(`${name} is not [sequences, length]`);
  const [begin, end] = Array.isArray(offsets) ? (offsets as unknown[]) : [];
  const elements = (shape[0] ?? 0) * (shape[1] ?? 0);
  if (
    !isCount(begin) ||
    !isCount(end) ||
    end > dataBytes ||
    end - begin !== elements * reader.bytes ||
    elements > MAX_TOKENS
  ) {
    throw new Error(`${name} has offsets that do not fit its shape or the file`);
  }
  return { dtype: dtype as string, shape, begin, end };
}

/**
 * Reads a prepared set of tokens: `input_ids` `[S, T]` and optionally `attention_mask` `[S, T]` (1 = token, 0 = padding)
 * of a safetensors file, all sequences in order, as one domain "tokens". `vocabularySize`: rows of the model's embedding.
 * Errors: CALIBRATION_TOKENS.
 */
export async function loadTokens(path: string, vocabularySize = 2 ** 31): Promise<Calibration> {
  const file = await open(path, "r").catch((cause) => {
    throw invalid(path, `The file cannot be opened (${(cause as Error).message}).`, cause);
  });
  try {
    return await readTokens(file, path, vocabularySize);
  } catch (cause) {
    throw cause instanceof ReamError
      ? cause
      : invalid(path, `The file is not valid: ${(cause as Error).message}.`, cause);
  } finally {
    await file.close();
  }
}

async function readTokens(file: FileHandle, path: string, vocabularySize: number): Promise<Calibration> {
  const { size } = await file.stat();
  const prefix = new DataView((await readExactly(file, 0, 8)).buffer);
  const headerBytes = prefix.getBigUint64(0, true);
  if (headerBytes > BigInt(Math.min(MAX_HEADER, size - 8)))
    throw new Error("the header is larger than the file or 1 MiB");
  const start = 8 + Number(headerBytes);
  const text = new TextDecoder("utf-8", { fatal: true }).decode(await readExactly(file, 8, Number(headerBytes)));
  const header = JSON.parse(text) as Record<string, unknown>;
  if (typeof header !== "object" || header === null) throw new Error("the header is not an object");
  const values = async ({ dtype, begin, end }: StoredTensor) => {
    const { bytes, read } = READERS[dtype]!;
    const data = await readExactly(file, start + begin, end - begin);
    const view = new DataView(data.buffer);
    return { count: data.length / bytes, at: (index: number) => read(view, index) };
  };
  const idsEntry = entryOf(header, "input_ids", size - start);
  if (idsEntry === undefined) throw new Error("it has no tensor input_ids");
  const maskEntry = entryOf(header, "attention_mask", size - start);
  const [sequences, length] = idsEntry.shape as [number, number];
  if (maskEntry !== undefined && maskEntry.shape.join() !== idsEntry.shape.join()) {
    throw new Error(`attention_mask is [${maskEntry.shape}] and input_ids is [${idsEntry.shape}]`);
  }
  if (sequences * length === 0) throw invalid(path, "The file holds no tokens.");
  const stored = await values(idsEntry);
  const ids = new Int32Array(stored.count);
  for (let index = 0; index < ids.length; index++) {
    const id = stored.at(index);
    if (!(id >= 0 && id < vocabularySize)) {
      throw invalid(
        path,
        `input_ids has ${id} in sequence ${Math.floor(index / length)}; the vocabulary has ${vocabularySize}.`,
      );
    }
    ids[index] = id;
  }
  const mask = new Uint8Array(ids.length).fill(1);
  if (maskEntry !== undefined) {
    const masks = await values(maskEntry);
    for (let index = 0; index < mask.length; index++) {
      const value = masks.at(index);
      if (value !== 0 && value !== 1) throw invalid(path, `attention_mask has ${value}; only 0 and 1 are known.`);
      mask[index] = value;
    }
  }
  let tokens = 0;
  for (let sequence = 0; sequence < sequences; sequence++) {
    const here = mask.subarray(sequence * length, (sequence + 1) * length).reduce((sum, value) => sum + value, 0);
    if (here === 0) throw invalid(path, `Sequence ${sequence} is all padding.`);
    tokens += here;
  }
  const digest = calibrationDigest(sequences, length, ids, mask);
  const domains = [{ name: "tokens", ratio: 1, sequences, tokens, source: basename(path) }];
  return { sequences, length, ids, mask, domains, domainOfSequence: new Uint8Array(sequences), digest, notes: [] };
}
