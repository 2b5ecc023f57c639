import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { executeJob } from "../../src/study/execute-job.js";
import type { Job } from "../../src/study/job.js";
import { jobFolder } from "../../src/study/job-folder.js";
import { jobsOf } from "../../src/study/run-study.js";
import { readStudy } from "../../src/study/study-file.js";
import { writeStudy } from "./queue/small-study.js";

const folder = mkdtempSync(join(tmpdir(), "ream-job-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

let observation: Job;
let compression: Job;
beforeAll(async () => {
  const study = await readStudy(writeStudy(folder));
  const jobs = await jobsOf(study, new AbortController().signal);
  [observation, compression] = [jobs.observations[0]!, jobs.compressions[0]!];
});

/** Does a job until it first tells of the phase `stop`. */
function run(job: Job, out: string, stop?: string) {
  const controller = new AbortController();
  return executeJob(job, {
    out: join(folder, out),
    signal: controller.signal,
    onEvent: (event) => {
      if ("phase" in event && event.phase === stop) controller.abort();
    },
  });
}

function attempt(out: string): string {
  const job = jobFolder(join(folder, out), compression.id);
  return join(job, readdirSync(job).find((name) => name.startsWith("attempt-"))!);
}

test("a job that was stopped comes to the same result, wherever it was", async () => {
  await run(observation, "whole");
  const { scored, heldOut, outputBytes } = await run(compression, "whole");
  await run(observation, "stopped");
  for (const phase of ["plan", "score", "generate"]) {
    await expect(run(compression, "stopped", phase)).rejects.toThrow(/abort/i);
    // As if it had been killed behind the evaluation: the model is made again, and is another to the answers.
    if (phase === "score") rmSync(join(attempt("stopped"), "model"), { recursive: true });
  }
  expect(await run(compression, "stopped")).toMatchObject({ scored, heldOut, outputBytes });
  expect(readdirSync(jobFolder(join(folder, "stopped"), compression.id)).sort()).toEqual([
    "evaluation",
    "items.json",
    "manifest.json",
    "result.json",
  ]);
});

test("two that do the same job at once have one result", async () => {
  await run(observation, "twice");
  const [one, other] = await Promise.all([run(compression, "twice"), run(compression, "twice")]);
  expect(other).toEqual(one);
  expect(readdirSync(jobFolder(join(folder, "twice"), compression.id)).sort()).toEqual([
    "evaluation",
    "items.json",
    "manifest.json",
    "result.json",
  ]);
});
