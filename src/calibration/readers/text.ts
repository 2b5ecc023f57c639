import { readLines } from "./lines.js";
import type { SourceRecord } from "./record.js";

/** Size from which on a text is cut at the next line end, in characters. */
const PIECE = 16_384;

/**
 * A text file is one document. Long files (books, logs) come as documents of about 16,384 characters, cut at line ends,
 * so that memory stays bounded and the choice of documents has something to choose from.
 */
export async function* readText(path: string): AsyncGenerator<SourceRecord> {
  let lines: string[] = [];
  let size = 0;
  let first = 1;
  for await (const { text, number } of readLines(path)) {
    if (lines.length === 0) first = number;
    lines.push(text);
    size += text.length + 1;
    if (size < PIECE) continue;
    yield { value: { text: lines.join("\n") }, where: `${path}:${first}` };
    lines = [];
    size = 0;
  }
  if (lines.length > 0) yield { value: { text: lines.join("\n") }, where: `${path}:${first}` };
}
