import { basename } from "node:path";
import { decodeIntegers } from "../checkpoint/dtypes.js";
import { SafetensorsFile } from "../checkpoint/safetensors.js";
import { ReamError } from "../errors.js";
import { type Calibration, calibrationDigest } from "./calibration.js";

function invalid(path: string, message: string): ReamError {
  return new ReamError("CALIBRATION_TOKENS", message, {
    where: path,
    hint: "Save input_ids and attention_mask [sequences, length] as integers with safetensors.",
  });
}

/** Reads an integer tensor `[sequences, length]`. Undefined if there is none of that name. */
async function readIntegers(file: SafetensorsFile, name: string) {
  if (!file.tensors.has(name)) return undefined;
  const { shape } = file.info(name);
  const [sequences, length] = shape;
  if (sequences === undefined || length === undefined || shape.length !== 2) {
    throw invalid(file.path, `${name} has shape [${shape}], not [sequences, length].`);
  }
  return { sequences, length, values: decodeIntegers(await file.read(name)) };
}

function checkIds(ids: Int32Array, length: number, vocabularySize: number, path: string): void {
  for (const [index, id] of ids.entries()) {
    if (id >= 0 && id < vocabularySize) continue;
    const place = `sequence ${Math.floor(index / length)}`;
    throw invalid(path, `input_ids has ${id} in ${place}; the vocabulary has ${vocabularySize}.`);
  }
}

/** Tokens without padding. Every sequence must have some. */
function countTokens(mask: Int32Array, length: number, path: string): number {
  let tokens = 0;
  for (let start = 0; start < mask.length; start += length) {
    let here = 0;
    for (const value of mask.subarray(start, start + length)) {
      if (value !== 0 && value !== 1) throw invalid(path, `attention_mask has ${value}; only 0 and 1 are known.`);
      here += value;
    }
    if (here === 0) throw invalid(path, `Sequence ${start / length} is all padding.`);
    tokens += here;
  }
  return tokens;
}

/**
 * Reads a prepared set of tokens: `input_ids` `[S, T]` and optionally `attention_mask` `[S, T]` (1 = token, 0 = padding)
 * of a safetensors file, all sequences in order, as one domain "tokens". `vocabularySize`: rows of the model's embedding.
 * Errors: CALIBRATION_TOKENS, and those of safetensors files.
 */
export async function loadTokens(path: string, vocabularySize = 2 ** 31): Promise<Calibration> {
  const file = await SafetensorsFile.open(path);
  try {
    const ids = await readIntegers(file, "input_ids");
    const mask = await readIntegers(file, "attention_mask");
    if (ids === undefined) throw invalid(path, "The file has no tensor input_ids.");
    const { sequences, length, values } = ids;
    if (values.length === 0) throw invalid(path, "The file holds no tokens.");
    if (mask !== undefined && (mask.sequences !== sequences || mask.length !== length)) {
      const shapes = `[${mask.sequences}, ${mask.length}] and input_ids is [${sequences}, ${length}]`;
      throw invalid(path, `attention_mask is ${shapes}.`);
    }
    checkIds(values, length, vocabularySize, path);
    const tokens = mask === undefined ? values.length : countTokens(mask.values, length, path);
    const bytes = mask === undefined ? new Uint8Array(values.length).fill(1) : Uint8Array.from(mask.values);
    return {
      sequences,
      length,
      ids: values,
      mask: bytes,
      domains: [{ name: "tokens", ratio: 1, sequences, tokens, source: basename(path) }],
      domainOfSequence: new Uint8Array(sequences),
      digest: calibrationDigest(sequences, length, values, bytes),
      notes: [],
    };
  } finally {
    await file.close();
  }
}
