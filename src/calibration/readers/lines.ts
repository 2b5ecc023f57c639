import { createReadStream } from "node:fs";
import type { Readable } from "node:stream";
import { pipeline } from "node:stream";
import { createGunzip } from "node:zlib";
import { ReamError } from "../../errors.js";

/** Longest line that is read, in bytes: bounds the memory of a file without line ends and of a gzip bomb. */
const MAX_LINE = 64 * 2 ** 20;

/** A line without its end, and its number from 1. */
export interface Line {
  readonly text: string;
  readonly number: number;
}

/** The bytes of a file, decompressed where its name ends in .gz. */
export function openBytes(path: string): Readable {
  const file = createReadStream(path, { highWaterMark: 2 ** 18 });
  if (!path.toLowerCase().endsWith(".gz")) return file;
  // The callback only keeps an error from being uncaught; the reader of the stream gets it as well.
  return pipeline(file, createGunzip(), () => {});
}

/** Turns what reading and decompressing a file may throw into a named error. */
export function readError(path: string, cause: unknown): ReamError {
  if (cause instanceof ReamError) return cause;
  const { code, message } = cause as NodeJS.ErrnoException;
  if (code?.startsWith("Z_")) {
    return new ReamError("CALIBRATION_GZIP", `The gzip data is damaged or cut off (${message}).`, {
      where: path,
      hint: "Get the file again.",
      cause,
    });
  }
  return new ReamError("CALIBRATION_READ", `The file cannot be read (${message}).`, {
    where: path,
    hint: "Check that it exists and may be read.",
    cause,
  });
}

function decode(path: string, number: number, decoder: InstanceType<typeof TextDecoder>, bytes: Uint8Array): string {
  try {
    return decoder.decode(bytes);
  } catch (cause) {
    throw new ReamError("CALIBRATION_ENCODING", "The line is not valid UTF-8.", {
      where: `${path}:${number}`,
      hint: "Convert the file to UTF-8.",
      cause,
    });
  }
}

/** Lines of a UTF-8 file, one at a time; .gz files are decompressed, a byte order mark and CR before LF dropped. */
export async function* readLines(path: string): AsyncGenerator<Line> {
  const decoder = new TextDecoder("utf-8", { fatal: true });
  let number = 0;
  let pending: Uint8Array[] = [];
  let pendingBytes = 0;
  const take = (end: Uint8Array): Line => {
    const bytes = pending.length === 0 ? end : Buffer.concat([...pending, end]);
    pending = [];
    pendingBytes = 0;
    number += 1;
    const text = decode(path, number, decoder, bytes);
    return { text: text.endsWith("\r") ? text.slice(0, -1) : text, number };
  };
  try {
    for await (const chunk of openBytes(path) as AsyncIterable<Uint8Array>) {
      let start = 0;
      for (let end = chunk.indexOf(10); end >= 0; end = chunk.indexOf(10, start)) {
        yield take(chunk.subarray(start, end));
        start = end + 1;
      }
      if (start === chunk.length) continue;
      pending.push(chunk.subarray(start));
      pendingBytes += chunk.length - start;
      if (pendingBytes > MAX_LINE) {
        throw new ReamError("CALIBRATION_LINE_TOO_LONG", `The line is longer than ${MAX_LINE / 2 ** 20} MiB.`, {
          where: `${path}:${number + 1}`,
          hint: "Write one record a line.",
        });
      }
    }
  } catch (cause) {
    throw readError(path, cause);
  }
  if (pendingBytes > 0) yield take(new Uint8Array());
}
