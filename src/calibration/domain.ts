import { createHash } from "node:crypto";
import { setImmediate } from "node:timers/promises";
import { ReamError } from "../errors.js";
import { Random } from "../random.js";
import type { ChatTemplate } from "./chat-template.js";
import type { CalibrationOptions } from "./options.js";
import { packedSequences, paddedSequences, type Sequence } from "./packing.js";
import type { SourceRecord } from "./readers/record.js";
import { cutText, type SelectedDocument, type SelectionCounts, selectDocuments } from "./select.js";
import { sourceRecords, type TextSource } from "./source.js";
import type { TextTokenizer } from "./tokenizer.js";

/**
 * Characters of a document that are used, for each token of a sequence. Bounds what one long document can take of a
 * domain: about eight packed sequences at four characters a token.
 */
const CHARACTERS_PER_TOKEN = 32;

/** Finished sequences are reported in steps of this many. */
const PROGRESS_STEP = 64;

/** Sequences of one domain and what a person should know about them. */
export interface DomainSequences {
  readonly sequences: readonly Sequence[];
  readonly notes: readonly string[];
}

export interface DomainRequest {
  readonly name: string;
  readonly source: TextSource;
  readonly field: string | undefined;
  readonly wanted: number;
  readonly tokenizer: TextTokenizer;
  readonly template: ChatTemplate | undefined;
  readonly options: Pick<CalibrationOptions, "length" | "packing" | "minFill" | "seed">;
  readonly signal: AbortSignal | undefined;
  onProgress(sequences: number): void;
}

/** Ids of a document, and whether the chat template wrote it. */
async function encodeDocument(document: SelectedDocument, request: DomainRequest, limit: number) {
  const { template, tokenizer } = request;
  if (document.messages !== undefined && template !== undefined) {
    const text = cutText(await template.render(document.messages, document.where), limit);
    return { ids: tokenizer.encode(text), template: true };
  }
  if (document.text !== undefined) return { ids: tokenizer.encode(document.text), template: false };
  throw new ReamError("CALIBRATION_TEMPLATE", "The record is a conversation, and the model has no chat template.", {
    where: document.where,
    hint: "Name a field of plain text with --field DOMAIN=FIELD, or give another --tokenizer.",
  });
}

/** A seed of its own for each domain, so that a domain's documents do not depend on which others there are. */
function domainSeed(seed: number, name: string): number {
  return createHash("sha256").update(`${seed} ${name}`).digest().readUInt32LE(0);
}

/** Reads, chooses, tokenises and packs the documents of a domain until `wanted` sequences are full or no text is left. */
export async function domainSequences(request: DomainRequest): Promise<DomainSequences> {
  const { name, source, wanted, tokenizer, options } = request;
  const field = request.field ?? source.field;
  const packer =
    options.packing === "packed"
      ? packedSequences(tokenizer, options.length)
      : paddedSequences(tokenizer, options.length, options.minFill, wanted);
  const limit = CHARACTERS_PER_TOKEN * options.length;
  const counts: SelectionCounts = { records: 0, empty: 0, duplicates: 0, limited: false };
  const selection = {
    field,
    maxCharacters: limit,
    accepts: (record: SourceRecord) => source.accepts(record, options.length),
    random: new Random(domainSeed(options.seed, name)),
  };
  let reported = 0;
  let rendered = 0;
  for await (const document of selectDocuments(sourceRecords(source, field), selection, counts)) {
    const { ids, template } = await encodeDocument(document, request, limit);
    if (template) rendered += 1;
    if (ids.length > 0) packer.add(ids, template);
    if (packer.sequences.length >= wanted) break;
    if (packer.sequences.length < reported + PROGRESS_STEP) continue;
    reported = packer.sequences.length;
    request.onProgress(reported);
    // Documents come from memory here: without a pause, neither display nor interruption would get their turn.
    await setImmediate();
    request.signal?.throwIfAborted();
  }
  const short = packer.sequences.length < wanted ? packer.finish() : 0;
  const notes: string[] = [];
  const note = (count: number, text: string) => {
    if (count > 0) notes.push(`${name}: ${text}: ${count.toLocaleString("en")}.`);
  };
  note(rendered, "documents that were written by the model's chat template");
  note(counts.empty, "documents that are empty and were left out");
  note(counts.duplicates, "documents that appear again and were left out");
  note(short, `sequences less than ${options.minFill} full, for want of longer documents`);
  if (counts.limited) note(counts.records, "reading stopped before enough text was found, at this number of records");
  const sequences = packer.sequences.slice(0, wanted);
  request.onProgress(sequences.length);
  return { sequences, notes };
}
