import { basename } from "node:path";
import { readRecords } from "../../calibration/readers/read-records.js";
import type { SourceRecord } from "../../calibration/readers/record.js";
import { ReamError } from "../../errors.js";
import { type HubOptions, hubOptionsFromEnvironment } from "../../hub/settings.js";
import { sha256 } from "../../sha256.js";
import type { Doc } from "../judge.js";
import type { Task } from "../task.js";
import { canonicalJson } from "./canonical.js";
import { checkRow, taskColumns } from "./check-row.js";
import { HubFileFinder } from "./hub-files.js";
import { findLocalFiles, withExamples } from "./local-files.js";

/** Most rows of a split, and most characters of its documents as JSON. */
const MAX_ROWS = 2_000_000;
const MAX_CHARACTERS = 2 ** 31;

export interface LoadOptions {
  /** Local rows: folders, `TASK=FILE`, or files that have a task's name. */
  readonly data?: readonly string[] | undefined;
  readonly hub?: HubOptions | undefined;
  /** For tasks that draw lots when they prepare their rows (the order of GPQA's options). Default 1234. */
  readonly seed?: number | undefined;
  /** Whether examples are needed; they are not read where not. Default: as the task has it. */
  readonly fewshot?: boolean | undefined;
}

/** One row that is asked. */
export interface Item {
  /** Position in its split or file. */
  readonly id: number;
  readonly doc: Doc;
  /** SHA-256 of the document: the same for the same row from any source. */
  readonly digest: string;
}

/** Where the rows came from and what they were, for the record of a run. */
export interface DataRecord {
  readonly source: string;
  readonly files: readonly string[];
  readonly items: number;
  /** Over the digests of all items. */
  readonly digest: string;
  readonly fewshot?: { readonly files: readonly string[]; readonly rows: number; readonly digest: string };
  /** Only where the rows depend on it. */
  readonly seed?: number;
}

export interface LoadedDocs {
  readonly items: readonly Item[];
  readonly fewshot: readonly Doc[];
  /** The examples are somebody's choice (`TASK.fewshot.jsonl`) and not a split to draw from: they are taken in order. */
  readonly fewshotChosen: boolean;
  readonly record: DataRecord;
}

interface Place {
  readonly source: string;
  readonly files: readonly string[];
  readonly paths: readonly string[];
  /** Whether rows of other tasks are in the same file. */
  readonly shared: boolean;
}

/** Loads the rows of tasks. What several tasks share, as one file of all MMLU subjects, is read once. */
export class DocLoader {
  private readonly finder: HubFileFinder;
  private readonly shared = new Map<string, Promise<SourceRecord[]>>();

  constructor(private readonly options: LoadOptions = {}) {
    this.finder = new HubFileFinder(options.hub ?? hubOptionsFromEnvironment(process.env));
  }

  /**
   * The rows of a task, checked, from local files or the hub.
   * Errors: DATA_PATH, DATA_MISSING, DATA_SPLIT, DATA_ROW, DATA_EMPTY, DATA_TOO_LARGE, DATA_... of the readers, HUB_....
   */
  async load(task: Task): Promise<LoadedDocs> {
    const seed = this.options.seed ?? 1234;
    const { main, fewshot } = await this.places(task);
    const items = await this.rows(task, main, seed);
    if (items.length === 0) {
      throw new ReamError("DATA_EMPTY", `there are no rows of ${task.name}`, {
        where: main.paths.join(", "),
        hint: "Give a file that has some.",
      });
    }
    const examples = fewshot === undefined ? [] : await this.rows(task, fewshot, seed);
    return {
      items,
      fewshot: examples.map(({ doc }) => doc),
      fewshotChosen: fewshot?.paths.every((path) => basename(path).includes(".fewshot.")) ?? false,
      record: {
        source: main.source,
        files: main.files,
        items: items.length,
        digest: digestOf(items),
        ...(fewshot && { fewshot: { files: fewshot.files, rows: examples.length, digest: digestOf(examples) } }),
        ...(task.prepare && { seed }),
      },
    };
  }

  private async places(task: Task): Promise<{ main: Place; fewshot: Place | undefined }> {
    const needed = this.options.fewshot ?? task.fewshot.count > 0;
    const { data } = task;
    const own = async () => {
      if (!("file" in data)) return undefined;
      return data.fewshotFile === undefined
        ? withExamples(task, data.file)
        : { file: data.file, fewshot: data.fewshotFile };
    };
    const local = (await findLocalFiles(task, this.options.data ?? [])) ?? (await own());
    const localPlace = (path: string) => ({ source: path, files: [path], paths: [path], shared: true });
    if (local !== undefined) {
      // Where items and examples are one split (aime25), they are one file.
      const same = "repository" in data && data.fewshotSplit === data.split ? local.file : undefined;
      const fewshot = local.fewshot ?? same;
      return {
        main: localPlace(local.file),
        fewshot: needed && fewshot !== undefined ? localPlace(fewshot) : undefined,
      };
    }
    if (!("repository" in data)) throw new TypeError(`${task.name} has neither a file nor a repository`);
    const find = async (split: string) => ({ ...(await this.finder.find(data, split)), shared: false });
    const place = ({ label, ...rest }: Awaited<ReturnType<typeof find>>): Place => ({ source: label, ...rest });
    return {
      main: place(await find(data.split)),
      fewshot: needed && data.fewshotSplit !== undefined ? place(await find(data.fewshotSplit)) : undefined,
    };
  }

  private async rows(task: Task, place: Place, seed: number): Promise<Item[]> {
    const ids: number[] = [];
    const docs: Doc[] = [];
    let position = 0;
    for await (const record of this.records(task, place)) {
      const id = position++;
      if (position > MAX_ROWS) throw tooLarge(record.where, `more than ${MAX_ROWS} rows`);
      if (place.shared && !belongs(task, record)) continue;
      ids.push(id);
      docs.push(checkRow(task, record));
    }
    const prepared = task.prepare === undefined ? docs : await task.prepare(docs, seed);
    let characters = 0;
    return prepared.flatMap((doc, i) => {
      if (doc === null) return [];
      const text = canonicalJson(doc);
      characters += text.length;
      if (characters > MAX_CHARACTERS) throw tooLarge(place.source, `more than ${MAX_CHARACTERS} characters`);
      return [{ id: ids[i]!, doc, digest: sha256(text) }];
    });
  }

  private async *records(task: Task, place: Place): AsyncGenerator<SourceRecord> {
    const columns = taskColumns(task);
    for (const path of place.paths) {
      try {
        if (place.shared && task.where !== undefined) yield* await this.once(path, columns);
        else yield* readRecords(path, columns);
      } catch (cause) {
        throw readerError(cause);
      }
    }
  }

  private once(path: string, columns: readonly string[] | undefined): Promise<SourceRecord[]> {
    const known = this.shared.get(path);
    if (known !== undefined) return known;
    const reading = collected(readRecords(path, columns));
    this.shared.set(path, reading);
    return reading;
  }
}

/** The rows of one task; see `DocLoader.load`. */
export function loadDocs(task: Task, options: LoadOptions = {}): Promise<LoadedDocs> {
  return new DocLoader(options).load(task);
}

async function collected(records: AsyncIterable<SourceRecord>): Promise<SourceRecord[]> {
  const all: SourceRecord[] = [];
  for await (const record of records) {
    if (all.length >= MAX_ROWS) throw tooLarge(record.where, `more than ${MAX_ROWS} rows`);
    all.push(record);
  }
  return all;
}

function belongs({ where }: Task, { value }: SourceRecord): boolean {
  return where === undefined || !Object.hasOwn(value, where.column) || value[where.column] === where.value;
}

function digestOf(items: readonly Item[]): string {
  return sha256(items.map(({ digest }) => digest).join("\n"));
}

function tooLarge(where: string, what: string): ReamError {
  return new ReamError("DATA_TOO_LARGE", `the split has ${what}`, { where, hint: "Give a file with fewer." });
}

/** The readers belong to calibration; here their errors are those of a task's data. */
function readerError(cause: unknown): unknown {
  if (!(cause instanceof ReamError) || !cause.code.startsWith("CALIBRATION_")) return cause;
  if (cause.code === "CALIBRATION_FIELD") {
    return new ReamError("DATA_ROW", "the file has none of the columns that the task reads", {
      where: cause.where ?? "",
      hint: "Give rows with the columns of the task's data set on the hub (docs/tasks.md).",
      cause,
    });
  }
  const { code, message, where, hint } = cause;
  const details = { ...(where !== undefined && { where }), ...(hint !== undefined && { hint }), cause };
  return new ReamError(code.replace("CALIBRATION_", "DATA_"), message, details);
}
