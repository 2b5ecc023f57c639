import { ReamError } from "../../errors.js";
import { openBytes, readError, readLines } from "./lines.js";
import type { SourceRecord } from "./record.js";

/** Largest JSON file that holds one array, in bytes after decompression: it has to be parsed as a whole. */
const MAX_ARRAY_FILE = 256 * 2 ** 20;

function recordOf(value: unknown, where: string): SourceRecord {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) {
    return { value: value as Record<string, unknown>, where };
  }
  throw new ReamError("CALIBRATION_JSON", "The record is not a JSON object.", {
    where,
    hint: 'Write records as objects, as in {"text": "..."}.',
  });
}

function parse(text: string, where: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new ReamError("CALIBRATION_JSON", `Not valid JSON (${(cause as Error).message.slice(0, 200)}).`, {
      where,
      hint: "Write one JSON object a line, or one array of objects in a .json file.",
      cause,
    });
  }
}

/** Records of a JSON Lines file, plain or .gz; blank lines are skipped. Errors: CALIBRATION_JSON, with file and line. */
export async function* readJsonLines(path: string): AsyncGenerator<SourceRecord> {
  for await (const { text, number } of readLines(path)) {
    if (text.trim() === "") continue;
    const where = `${path}:${number}`;
    yield recordOf(parse(text, where), where);
  }
}

/** Records of a .json file: an array of objects, or JSON Lines under that name, as many datasets have it. */
export async function* readJson(path: string): AsyncGenerator<SourceRecord> {
  if (!(await beginsWithBracket(path))) {
    yield* readJsonLines(path);
    return;
  }
  const records = parse(await readWhole(path), path) as unknown[];
  for (const [index, value] of records.entries()) yield recordOf(value, `${path} item ${index + 1}`);
}

async function beginsWithBracket(path: string): Promise<boolean> {
  try {
    for await (const chunk of openBytes(path) as AsyncIterable<Uint8Array>) {
      const text = Buffer.from(chunk)
        .toString("latin1")
        .replace(/^\xef\xbb\xbf/, "")
        .trimStart();
      if (text !== "") return text.startsWith("[");
    }
    return false;
  } catch (cause) {
    throw readError(path, cause);
  }
}

async function readWhole(path: string): Promise<string> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  try {
    for await (const chunk of openBytes(path) as AsyncIterable<Uint8Array>) {
      size += chunk.length;
      if (size > MAX_ARRAY_FILE) {
        throw new ReamError("CALIBRATION_JSON", `The array is larger than ${MAX_ARRAY_FILE / 2 ** 20} MiB.`, {
          where: path,
          hint: "Convert it to JSON Lines: one object a line.",
        });
      }
      chunks.push(chunk);
    }
    return new TextDecoder("utf-8", { fatal: true }).decode(Buffer.concat(chunks));
  } catch (cause) {
    if (!(cause instanceof TypeError)) throw readError(path, cause);
    throw new ReamError("CALIBRATION_ENCODING", "The file is not valid UTF-8.", {
      where: path,
      hint: "Convert the file to UTF-8.",
      cause,
    });
  }
}
