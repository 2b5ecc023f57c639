import { createHash } from "node:crypto";
import type { Random } from "../random.js";
import { documentOf, type Message, type TextDocument } from "./document.js";
import type { SourceRecord } from "./readers/record.js";

/** Documents that are held and shuffled at a time; also limited by their size in characters. */
const WINDOW_DOCUMENTS = 16_384;
const WINDOW_CHARACTERS = 64 * 2 ** 20;

/** Records of one domain that are read at most, so that a source without usable text ends. */
const MAX_RECORDS = 16 * WINDOW_DOCUMENTS;

/** What was met while reading the records of a domain. */
export interface SelectionCounts {
  records: number;
  empty: number;
  duplicates: number;
  /** True if reading stopped at the limit with records left. */
  limited: boolean;
}

export interface SelectionOptions {
  readonly field: string | undefined;
  /** Documents are cut to this many characters. */
  readonly maxCharacters: number;
  readonly accepts: (record: SourceRecord) => boolean;
  readonly random: Random;
}

/** A document and where it came from. */
export interface SelectedDocument extends TextDocument {
  readonly where: string;
}

/** The first `limit` characters as a string of its own: a slice would keep the whole long text in memory. */
export function cutText(text: string, limit: number): string {
  if (text.length <= limit) return text;
  const end = /[\ud800-\udbff]/.test(text[limit - 1] ?? "") ? limit - 1 : limit;
  return Buffer.from(text.slice(0, end), "utf8").toString("utf8");
}

function characters(document: TextDocument): number {
  const ofMessage = ({ content }: Message) => (typeof content === "string" ? content : JSON.stringify(content)).length;
  return (document.text?.length ?? 0) + (document.messages ?? []).reduce((sum, turn) => sum + ofMessage(turn), 0);
}

/**
 * Documents of a domain in a seeded random order. Records are read in windows of up to 16,384 documents (64 Mi
 * characters), and each window is shuffled: a source that is smaller than a window is shuffled whole, of a larger one
 * only as much is read as its consumer takes. Empty documents and exact duplicates are left out and counted.
 */
export async function* selectDocuments(
  records: AsyncIterable<SourceRecord>,
  options: SelectionOptions,
  counts: SelectionCounts,
): AsyncGenerator<SelectedDocument> {
  const seen = new Set<string>();
  let window: SelectedDocument[] = [];
  let size = 0;
  for await (const record of records) {
    if (counts.records >= MAX_RECORDS) {
      counts.limited = true;
      break;
    }
    counts.records += 1;
    if (!options.accepts(record)) continue;
    const found = documentOf(record, options.field);
    if (found === undefined) {
      counts.empty += 1;
      continue;
    }
    const digest = createHash("sha256").update(JSON.stringify(found)).digest("base64").slice(0, 22);
    if (seen.has(digest)) {
      counts.duplicates += 1;
      continue;
    }
    seen.add(digest);
    const text = found.text === undefined ? {} : { text: cutText(found.text, options.maxCharacters) };
    const document = { ...found, ...text, where: record.where };
    window.push(document);
    size += characters(document);
    if (window.length < WINDOW_DOCUMENTS && size < WINDOW_CHARACTERS) continue;
    for (const index of options.random.permutation(window.length)) yield window[index]!;
    window = [];
    size = 0;
  }
  for (const index of options.random.permutation(window.length)) yield window[index]!;
}
