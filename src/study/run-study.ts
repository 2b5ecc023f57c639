import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { writeJsonFile } from "../checkpoint/durable.js";
import { takeLock } from "../checkpoint/lock.js";
import { expertLimits } from "../pipeline/check-experts.js";
import { openModel } from "../pipeline/open-model.js";
import { modelIdentity } from "../pipeline/source-identity.js";
import { analyse } from "./analysis/analyse.js";
import type { Analysis } from "./analysis/analysis.js";
import { assemble } from "./assemble.js";
import { expandStudy, type StudyJobs } from "./expand.js";
import type { Job } from "./job.js";
import type { JobFailure, JobOutcomes, JobQueue, StudyEvent } from "./job-queue.js";
import { type StudyResults, writeResults } from "./results.js";
import { type SearchReport, search } from "./search.js";
import type { Study } from "./study-file.js";

export interface StudyOutcome {
  readonly out: string;
  readonly results: StudyResults;
  readonly analysis: Analysis;
  readonly failures: readonly JobFailure[];
  /** Jobs that the budget did not allow. */
  readonly leftOut: readonly Job[];
  readonly search: SearchReport | undefined;
}

/**
 * Does what is not done yet of a study, and analyses what there is. A job that fails is told and the others go on; the same
 * call later does what is missing. Errors: STUDY_ORIGINAL where nothing can be compared, and those of opening the model.
 */
export async function* runStudy(
  study: Study,
  out: string,
  queue: JobQueue,
  signal: AbortSignal,
): AsyncGenerator<StudyEvent, StudyOutcome> {
  const jobs = await jobsOf(study, signal);
  await mkdir(out, { recursive: true });
  const release = await takeLock(out);
  try {
    await writeJsonFile(join(out, "study.json"), study);
    const before = yield* queue.run([jobs.original, ...jobs.observations], new Map());
    const chosen = study.search && (yield* search(study, jobs.compressions, before, queue));
    const done = yield* queue.run(chosen?.jobs ?? jobs.compressions, before);
    const outcomes: JobOutcomes = new Map([...before, ...done]);
    const { results, items } = await assemble(study, jobs, outcomes, out);
    await writeResults(join(out, "results.json"), results);
    const analysis = analyse(results, { items });
    await writeJsonFile(join(out, "analysis.json"), analysis);
    // Drawing takes a while to load.
    const { writeStudyReport } = await import("./write-report.js");
    await writeStudyReport(join(out, "report.html"), results, analysis, out);
    return {
      out,
      results,
      analysis,
      failures: [...outcomes.values()].flatMap((outcome) => (outcome.state === "failed" ? [outcome] : [])),
      leftOut: [...outcomes.values()].flatMap((outcome) => (outcome.state === "left-out" ? [outcome.job] : [])),
      search: chosen?.report(outcomes),
    };
  } finally {
    await release();
  }
}

/** All jobs of a study, which depend on its file and on the files of its model alone. */
export async function jobsOf(study: Study, signal: AbortSignal): Promise<StudyJobs> {
  const opened = await openModel(study.model, { signal });
  try {
    return expandStudy(study, await modelIdentity(opened), expertLimits(opened.model));
  } finally {
    await opened.checkpoint.close();
  }
}
