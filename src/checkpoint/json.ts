import { isUtf8 } from "node:buffer";
import { ReamError } from "../errors.js";
import { JsonScanner, type JsonScannerOptions } from "./json-scanner.js";

/** An object read from JSON. It has no prototype, so that `__proto__` and `constructor` are keys like any other. */
export type JsonObject = { readonly [key: string]: unknown };

/**
 * Parses a whole JSON text strictly: one value, no duplicate keys, at most 64 levels.
 * Throws `JSON_SYNTAX`, `JSON_DUPLICATE_KEY`, `JSON_DEPTH`, naming `where` with line and column.
 */
export function parseJson(text: string, where: string, options: JsonScannerOptions = {}): unknown {
  const scanner = new JsonScanner(text, where, true, options);
  scanner.next();
  const value = readValue(scanner);
  scanner.next();
  return value;
}

/** The value whose first event the scanner has just met. */
function readValue(scanner: JsonScanner): unknown {
  if (scanner.event === "{") {
    const object: Record<string, unknown> = Object.create(null);
    while (scanner.next() === "key") {
      const key = scanner.value as string;
      scanner.next();
      object[key] = readValue(scanner);
    }
    return object;
  }
  if (scanner.event === "[") {
    const array: unknown[] = [];
    while (scanner.next() !== "]") array.push(readValue(scanner));
    return array;
  }
  return scanner.value;
}

export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Text of bytes that must be UTF-8, else `JSON_ENCODING`. */
export function decodeUtf8(bytes: Uint8Array, where: string): string {
  if (!isUtf8(bytes)) throw encodingError(where);
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("utf8");
}

export function encodingError(where: string): ReamError {
  return new ReamError("JSON_ENCODING", "the text is not valid UTF-8", {
    where,
    hint: "The file is damaged; fetch it again.",
  });
}
