import { appendFile, mkdir, readFile, rm } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import { z } from "zod";
import { writeJsonFile } from "../checkpoint/durable.js";
import { parseJson } from "../checkpoint/json.js";
import { ReamError } from "../errors.js";
import { type StudyItems, studyItems } from "./items.js";
import type { Job, JobSpec } from "./job.js";
import { scoredSchema } from "./results.js";

const resultSchema = z.strictObject({
  format: z.literal("ream-study-job"),
  version: z.literal(1),
  id: z.string(),
  label: z.string(),
  /** The job's spec, for people. */
  spec: z.unknown(),
  /** Absent where no tasks were asked. */
  scored: scoredSchema.optional(),
  heldOut: scoredSchema.shape.heldOut,
  /** Distance of the hidden states behind each layer from the original's, relative to their size, on held-out text. */
  layerErrors: z.array(z.number().min(0)).optional(),
  /** Mean numerical rank of the last hidden states on held-out text. */
  rank: z.number().min(0).optional(),
  seconds: z.number().min(0),
  memoryBytes: z.number().min(0).optional(),
  outputBytes: z.number().min(0).optional(),
  notes: z.array(z.string()),
});

/** What came of a job. */
export type JobResult = z.infer<typeof resultSchema>;

/** Folder of a study's job, below that of the study. */
export function jobFolder(out: string, id: string): string {
  return join(out, "jobs", id);
}

/** The result of a job that is done; undefined where it is not. Errors: JOB_DAMAGED. */
export async function readResult(out: string, id: string): Promise<JobResult | undefined> {
  const path = join(jobFolder(out, id), "result.json");
  const text = await readFile(path, "utf8").catch(() => undefined);
  if (text === undefined) return undefined;
  const parsed = resultSchema.safeParse(parseJson(text, path));
  if (parsed.success && parsed.data.id === id) return parsed.data;
  throw new ReamError("JOB_DAMAGED", "the result of a job is damaged, or of another version", {
    where: path,
    hint: "Delete its folder; the job will be done again.",
  });
}

/** Writes a job's result to the folder of an attempt, as its last act. */
export async function writeResult(
  folder: string,
  { id, label, spec }: Job,
  items: StudyItems | undefined,
  result: Omit<JobResult, "format" | "version" | "id" | "label" | "spec">,
): Promise<void> {
  if (items !== undefined) await writeJsonFile(join(folder, "items.json"), items);
  const whole: JobResult = { format: "ream-study-job", version: 1, id, label, spec: spec satisfies JobSpec, ...result };
  await writeJsonFile(join(folder, "result.json"), whole);
}

/** Deletes what an earlier run noted. */
export async function forgetFailure(out: string, id: string): Promise<void> {
  await rm(join(jobFolder(out, id), "failure.json"), { force: true });
}

/** Adds a line to a job's log, beside what every line tells: when and where. */
export async function appendLog(out: string, id: string, line: object): Promise<void> {
  const told = { time: new Date().toISOString(), host: hostname(), ...line };
  await mkdir(jobFolder(out, id), { recursive: true });
  await appendFile(logPath(out, id), `${JSON.stringify(told)}\n`);
}

/** Notes and failures of all attempts at a job, a line of JSON each. */
export function logPath(out: string, id: string): string {
  return join(jobFolder(out, id), "log.jsonl");
}

/** Scores of a job's items; undefined where it has none. */
export async function readJobItems(out: string, id: string): Promise<StudyItems | undefined> {
  const text = await readFile(join(jobFolder(out, id), "items.json"), "utf8").catch(() => undefined);
  return text === undefined ? undefined : studyItems.parse(JSON.parse(text));
}
