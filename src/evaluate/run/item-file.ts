import { mkdir, rm } from "node:fs/promises";
import { dirname } from "node:path";
import { writeDurably, writeJsonLines } from "../../checkpoint/durable.js";
import { Journal } from "../../checkpoint/journal.js";
import type { JsonObject } from "../../checkpoint/json.js";
import { ReamError } from "../../errors.js";
import { sha256 } from "../../sha256.js";
import type { Verdict } from "../judge.js";
import type { Generation, Scored } from "../language-model.js";
import { requestRecord } from "../requests/request-record.js";
import type { TaskRequest } from "../task.js";

/** What became of one item. Fields appear as they are known: the answer first, then what the judge says. */
export interface ItemResult {
  /** Digest of what was asked. */
  readonly asked?: string;
  /** Log-likelihoods of the choices. */
  readonly scored?: readonly Scored[];
  /** The answers, one for each sample. */
  readonly generations?: readonly Generation[];
  /** One for each answer; one for a choice. */
  readonly verdicts?: readonly Verdict[];
  /** Digest of what the verdicts depend on besides the answer. */
  readonly judged?: string;
}

/** What has to be equal for answers to be usable again. Values are plain data. */
export type Circumstances = Readonly<Record<string, unknown>>;

const FORMAT = "ream-items/1";

/**
 * All that is known of a task's items for one model, as JSON lines: a header with the circumstances, then a line for
 * every answer and for every verdict, as they come. A line is with the operating system before the next item is asked,
 * so that a killed run asks nothing twice.
 */
export class ItemFile {
  private readonly results = new Map<number, ItemResult>();

  private constructor(
    private readonly path: string,
    private readonly journal: Journal,
  ) {}

  /**
   * Opens the file of an earlier run, or creates it. With `restart` what was there is thrown away.
   * Errors: EVALUATION_DIFFERS where it holds answers to other questions or by another model, JOURNAL_DAMAGED.
   */
  static async open(path: string, circumstances: Circumstances, restart: boolean): Promise<ItemFile> {
    await mkdir(dirname(path), { recursive: true });
    if (restart) await discard(path, circumstances);
    const journal = await Journal.open(path);
    try {
      const file = new ItemFile(path, journal);
      const [header, ...lines] = journal.entries;
      const own = { format: FORMAT, ...digests(circumstances) };
      if (header === undefined) await journal.append(own);
      else refuseOthers(header, own, path);
      for (const line of lines) file.take(line);
      return file;
    } catch (error) {
      await journal.close();
      throw error;
    }
  }

  get(docId: number): ItemResult | undefined {
    return this.results.get(docId);
  }

  /** Adds what is new of an item. */
  async add(docId: number, result: ItemResult): Promise<void> {
    await this.journal.append({ docId, ...(written(result) as JsonObject) }, "buffered");
    this.results.set(docId, { ...this.results.get(docId), ...result });
  }

  /** Errors: EVALUATION_DIFFERS where the item's answer is to another question. */
  check(docId: number, asked: string): void {
    const found = this.results.get(docId)?.asked;
    if (found === undefined || found === asked) return;
    throw differs(`item ${docId} was asked otherwise`, this.path);
  }

  /**
   * Writes the file anew, with one line for each item: what was asked, the answer and the verdict. Items that are not asked
   * now (a smaller --limit) stay as they were.
   */
  async finish(requests: readonly TaskRequest[]): Promise<void> {
    await this.journal.flush();
    const asked = new Map(requests.map((request) => [request.docId, request]));
    const ids = [...new Set([...this.results.keys(), ...asked.keys()])].sort((a, b) => a - b);
    const line = (docId: number) => {
      const request = asked.get(docId);
      const result = written(this.results.get(docId) ?? {});
      return { docId, ...result, ...(request !== undefined && { request: requestRecord(request) }) };
    };
    const [header] = this.journal.entries;
    function* lines() {
      yield header;
      for (const docId of ids) yield line(docId);
    }
    await writeDurably(this.path, `${this.path}.partial`, (handle) => writeJsonLines(handle, lines()));
  }

  async close(): Promise<void> {
    try {
      await this.journal.flush();
    } finally {
      await this.journal.close();
    }
  }

  private take({ docId, ...result }: JsonObject): void {
    this.results.set(docId as number, { ...this.results.get(docId as number), ...read(result) });
  }
}

/** Errors: EVALUATION_DIFFERS where given answers would take the place of those that a model was asked for. */
async function discard(path: string, circumstances: Circumstances): Promise<void> {
  const journal = await Journal.open(path);
  const [header] = journal.entries;
  await journal.close();
  if (header !== undefined && "answers" in circumstances && !("answers" in header)) {
    throw new ReamError("EVALUATION_DIFFERS", "the folder holds answers that a model was asked for", {
      where: path,
      hint: "Give the file of answers another name, as in --judge NAME=FILE, or choose another folder with --out.",
    });
  }
  await rm(path);
}

/** JSON has no infinity: a log-likelihood that is not finite is written by its name. */
function written({ scored, ...rest }: ItemResult): object {
  if (scored === undefined) return rest;
  const numbers = scored.map((choice) => ({
    ...choice,
    logLikelihood: Number.isFinite(choice.logLikelihood) ? choice.logLikelihood : String(choice.logLikelihood),
  }));
  return { ...rest, scored: numbers };
}

function read(line: JsonObject): ItemResult {
  const result = line as unknown as ItemResult;
  if (result.scored === undefined) return result;
  return { ...result, scored: result.scored.map((one) => ({ ...one, logLikelihood: Number(one.logLikelihood) })) };
}

/** A circumstance as it is where it is short, else its digest. */
function digests(circumstances: Circumstances): JsonObject {
  const entries = Object.entries(circumstances).map(([key, value]) => {
    const text = JSON.stringify(value) ?? "null";
    return [key, text.length <= 200 ? JSON.parse(text) : `sha256:${sha256(text)}`];
  });
  return Object.fromEntries(entries);
}

function refuseOthers(found: JsonObject, own: JsonObject, path: string): void {
  const keys = new Set([...Object.keys(found), ...Object.keys(own)]);
  const differing = [...keys].filter((key) => JSON.stringify(found[key]) !== JSON.stringify(own[key]));
  if (differing.length === 0) return;
  const shown = differing.map((key) => `${key} (${JSON.stringify(found[key])}, now ${JSON.stringify(own[key])})`);
  throw differs(shown.join(", "), path);
}

function differs(what: string, path: string): ReamError {
  return new ReamError("EVALUATION_DIFFERS", `the folder holds results of other circumstances: ${what}`, {
    where: path,
    hint: "Choose another folder with --out, or throw these results away with --restart.",
  });
}
