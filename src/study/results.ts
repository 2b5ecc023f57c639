import { readFile } from "node:fs/promises";
import { z } from "zod";
import { writeError, writeJsonFile } from "../checkpoint/durable.js";
import { decodeUtf8, parseJson } from "../checkpoint/json.js";
import { ReamError } from "../errors.js";
import { isWhole, mixKey } from "./mix.js";

const name = z.string().min(1).max(200);
const percent = z.number().min(0).max(100);
const count = z.int().min(1);

/** Names of the averages: no task has one of them, so that a name says which score is meant. */
export const AVERAGES = ["mc", "gen", "avg"] as const;
export type Average = (typeof AVERAGES)[number];

const taskScore = z.strictObject({
  suite: z.enum(["mc", "gen"]).optional(),
  /** Per cent, as its standard error. */
  score: percent,
  standardError: z.number().min(0).optional(),
  items: count.optional(),
});

const heldOut = z.strictObject({
  /** Kullback-Leibler divergence from the original's next tokens, in nats. */
  kl: z.number().min(0).optional(),
  /** Share of tokens for which both models find the same next one most likely. */
  agreement: z.number().min(0).max(1).optional(),
  perplexity: z.number().min(1).optional(),
});

export const scoredSchema = z.strictObject({
  /** Means over the multiple-choice and the generative tasks, and the mean of these two; per cent. */
  mc: percent,
  gen: percent,
  avg: percent,
  tasks: z.record(name, taskScore),
  heldOut: z.record(name, heldOut).optional(),
  /** File of the scores of single items (items.ts), relative to this one. */
  items: z
    .string()
    .regex(/^(?!\/)(?!.*(^|\/)\.\.?(\/|$))[^\\:]+$/, "is not a path inside the folder of the results")
    .optional(),
});

/** Change of a task's score against the original, in points, with its interval of 95 % and the p of its test. */
const difference = z.strictObject({
  points: z.number(),
  low: z.number(),
  high: z.number(),
  p: z.number().min(0).max(1),
});

/** Reference points of the hypervolume by number of experts, where the usual one is not wanted. */
export const referencesSchema = z.record(
  z.string().regex(/^[1-9]\d*$/, "is no number of experts"),
  z.strictObject({ mc: z.number(), gen: z.number() }),
);

const row = scoredSchema.extend({
  method: name,
  experts: count,
  mix: z.record(name, z.number().min(0).max(1)).refine(isWhole, "the shares do not add up to 1"),
  seed: z.int().min(0).optional(),
  /** Mean numerical rank of the last hidden states on held-out text. */
  rank: z.number().min(0).optional(),
  seconds: z.number().min(0).optional(),
  memoryBytes: z.number().min(0).optional(),
  outputBytes: z.number().min(0).optional(),
  /** The job of the queue that it comes from. */
  job: z.string().optional(),
  differences: z.record(name, difference).optional(),
});

const studyResults = z.strictObject({
  format: z.literal("ream-study-results"),
  version: z.literal(1),
  title: z.string(),
  model: z.strictObject({ name, family: z.string().optional(), experts: count }),
  /** Where the numbers come from, for a citation. */
  source: z.string().optional(),
  note: z.string().optional(),
  /** The model before compression. */
  original: scoredSchema.optional(),
  rows: z.array(row),
  references: referencesSchema.optional(),
});

/** What a model scored. */
export type Scored = z.infer<typeof scoredSchema>;
/** A compression of the study and what it scored. */
export type Row = z.infer<typeof row>;
export type StudyResults = z.infer<typeof studyResults>;

/** Errors: RESULTS_READ, RESULTS_INVALID, JSON_ENCODING, JSON_SYNTAX, JSON_DUPLICATE_KEY, JSON_DEPTH. */
export async function readResults(path: string): Promise<StudyResults> {
  const bytes = await readFile(path).catch((cause: Error) => {
    throw new ReamError("RESULTS_READ", `the results cannot be read: ${cause.message}`, {
      where: path,
      hint: "Give the folder of a study or of a compressed model, or a file of results (docs/study-analysis.md).",
      cause,
    });
  });
  return checkResults(parseJson(decodeUtf8(bytes, path), path), path);
}

/** Errors: RESULTS_INVALID, OUTPUT_WRITE. */
export async function writeResults(path: string, results: StudyResults): Promise<void> {
  const checked = checkResults(results, path);
  await writeJsonFile(path, checked).catch((error: unknown) => {
    throw writeError(error, path);
  });
}

/** Checks results that were read or made. Errors: RESULTS_INVALID. */
export function checkResults(value: unknown, where: string): StudyResults {
  const fail = (what: string): never => {
    throw new ReamError("RESULTS_INVALID", what, { where, hint: "docs/study-analysis.md describes the format." });
  };
  const parsed = studyResults.safeParse(value);
  if (!parsed.success) return fail(z.prettifyError(parsed.error).slice(0, 2000));
  const results = parsed.data;
  if (results.original) checkScored(results.original, "original", fail);
  const seen = new Map<string, number>();
  results.rows.forEach((entry, i) => {
    checkScored(entry, `rows[${i}]`, fail);
    const { method, experts, mix, seed } = entry;
    if (experts > results.model.experts) {
      fail(`rows[${i}] has ${experts} experts, the model has ${results.model.experts}`);
    }
    const key = JSON.stringify([method, experts, mixKey(mix), seed]);
    const before = seen.get(key);
    if (before !== undefined) fail(`rows[${before}] and rows[${i}] are the same method, experts, mix and seed`);
    seen.set(key, i);
  });
  return results;
}

/** @param fail throws. */
function checkScored({ mc, gen, avg, tasks }: Scored, where: string, fail: (what: string) => never): void {
  // Each of the three may be rounded to one digit.
  if (Math.abs(avg - (mc + gen) / 2) > 0.1 + 1e-9)
    fail(`${where}: avg ${avg} is not the mean of mc ${mc} and gen ${gen}`);
  const taken = AVERAGES.find((average) => average in tasks);
  if (taken) fail(`${where}: a task cannot be called ${taken}`);
}
