import { readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { z } from "zod";
import { decodeUtf8, parseJson } from "../checkpoint/json.js";
import { ReamError } from "../errors.js";
import type { JudgedTask } from "../evaluate/compare/judged.js";
import { sha256 } from "../sha256.js";
import type { StudyResults } from "./results.js";

const score = z.number().min(0).max(1);

const taskItems = z
  .strictObject({
    suite: z.enum(["mc", "gen"]),
    /** Digest of what was asked, in which order: only the same questions are compared. */
    asked: z.string(),
    /** One for each item; a list where the metric counts an item's parts. */
    scores: z.array(z.union([score, z.array(score).min(1)])).min(1),
  })
  .readonly();

export const studyItems = z.strictObject({
  format: z.literal("ream-study-items"),
  version: z.literal(1),
  tasks: z.record(z.string().min(1), taskItems),
});

/** Scores of all items of one compression, by task: what the bootstrap draws from. */
export type StudyItems = z.infer<typeof studyItems>;

/** What was loaded for a study: undefined where a row names no file. */
export interface ItemsOfStudy {
  readonly original?: StudyItems | undefined;
  /** One for each row. */
  readonly rows: readonly (StudyItems | undefined)[];
}

/** The items of one model's evaluation, with groups that count as one task joined before. */
export function itemsOf(tasks: readonly JudgedTask[]): StudyItems {
  const entries = tasks.map(({ name, suite, primary, items }) => {
    const asked = sha256(JSON.stringify([primary, items.map(({ task, docId, digest }) => [task, docId, digest])]));
    const scores = items.map(({ parts }) => (parts.length === 1 ? parts[0]! : [...parts]));
    return [name, { suite, asked, scores }];
  });
  return { format: "ream-study-items", version: 1, tasks: Object.fromEntries(entries) };
}

/**
 * Reads the files of items that the results at `path` name.
 * Errors: ITEMS_READ, ITEMS_INVALID, JSON_ENCODING, JSON_SYNTAX, JSON_DUPLICATE_KEY, JSON_DEPTH.
 */
export async function readItems(results: StudyResults, path: string): Promise<ItemsOfStudy> {
  const read = async (file: string | undefined) =>
    file === undefined ? undefined : readFileOfItems(join(dirname(path), file));
  const rows: (StudyItems | undefined)[] = [];
  for (const { items } of results.rows) rows.push(await read(items));
  return { original: await read(results.original?.items), rows };
}

async function readFileOfItems(path: string): Promise<StudyItems> {
  const bytes = await readFile(path).catch((cause: Error) => {
    throw new ReamError("ITEMS_READ", `the scores of items cannot be read: ${cause.message}`, { where: path, cause });
  });
  const parsed = studyItems.safeParse(parseJson(decodeUtf8(bytes, path), path));
  if (parsed.success) return parsed.data;
  throw new ReamError("ITEMS_INVALID", z.prettifyError(parsed.error).slice(0, 2000), { where: path });
}
