import { join } from "node:path";
import { writeJsonFile } from "../checkpoint/durable.js";
import { ReamError } from "../errors.js";
import { relay } from "../pipeline/relay.js";
import { executeJob, type JobEvent } from "./execute-job.js";
import type { Job } from "./job.js";
import { appendLog, jobFolder } from "./job-folder.js";
import type { JobFailure, JobOutcome, JobOutcomes, JobQueue, StudyEvent } from "./job-queue.js";
import { Spending } from "./spending.js";
import { SharedFolder, type Store } from "./store/store.js";
import type { Study } from "./study-file.js";

/** Does jobs in this process, one after the other: a job uses all cores. */
export function localQueue(
  out: string,
  budget: Study["budget"],
  signal: AbortSignal,
  store: Store = new SharedFolder(out),
): JobQueue {
  const spending = new Spending(budget);
  return {
    async *run(jobs, before) {
      const outcomes = new Map<string, JobOutcome>();
      for (const job of jobs) {
        signal.throwIfAborted();
        if (outcomes.has(job.id)) continue;
        yield progress(outcomes, jobs);
        const done = await store.job(job.id);
        if (done !== undefined) {
          outcomes.set(job.id, { state: "done", job, result: done });
          yield { type: "job", ...named(job), state: "reused" };
        } else if (failedNeed(job, outcomes, before)) {
          outcomes.set(job.id, await failed(out, job, new ReamError("JOB_NEEDS", "what it needs was not done")));
        } else if (spending.start()) {
          outcomes.set(job.id, yield* execute(store, job, signal));
        } else {
          outcomes.set(job.id, { state: "left-out", job });
        }
      }
      yield progress(outcomes, jobs);
      return outcomes;
    },
  };
}

async function* execute(store: Store, job: Job, signal: AbortSignal): AsyncGenerator<StudyEvent, JobOutcome> {
  const out = store.folder;
  yield { type: "job", ...named(job), state: "started" };
  try {
    const result = yield* relay<StudyEvent, Awaited<ReturnType<typeof executeJob>>>((emit) =>
      executeJob(job, {
        out,
        store,
        signal,
        onEvent: (event: JobEvent) => emit({ type: "job-event", ...named(job), event }),
      }),
    );
    for (const message of result.notes) await appendLog(out, job.id, { note: message });
    yield { type: "job", ...named(job), state: "done", seconds: result.seconds };
    return { state: "done", job, result };
  } catch (error) {
    signal.throwIfAborted();
    const failure = await failed(out, job, error);
    await appendLog(out, job.id, { error: failure.error });
    yield { type: "job", ...named(job), state: "failed", message: `${failure.error.code}: ${failure.error.message}` };
    return failure;
  }
}

/** Notes why a job came to nothing, in its folder. */
export async function failed(out: string, job: Job, cause: unknown): Promise<JobFailure> {
  const error = errorOf(cause);
  await writeJsonFile(join(jobFolder(out, job.id), "failure.json"), { ...named(job), error });
  return { state: "failed", job, error };
}

/** What is noted of an error; of those that nobody expected the stack, too. */
export function errorOf(cause: unknown): JobFailure["error"] {
  if (cause instanceof ReamError) return { code: cause.code, message: cause.message };
  return { code: "INTERNAL", message: String(cause instanceof Error ? (cause.stack ?? cause) : cause) };
}

export function failedNeed({ needs }: Job, own: JobOutcomes, before: JobOutcomes): boolean {
  return needs.some((id) => (own.get(id) ?? before.get(id))?.state !== "done");
}

export function named({ id, label }: Job) {
  return { id, label };
}

export function progress(outcomes: JobOutcomes, jobs: readonly Job[]): StudyEvent {
  const states = [...outcomes.values()].map(({ state }) => state);
  const failures = states.filter((state) => state === "failed").length;
  return { type: "study", done: states.length - failures, failed: failures, total: jobs.length };
}
