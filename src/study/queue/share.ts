import type { StudyJobs } from "../expand.js";
import type { Job } from "../job.js";
import type { JobOutcome, JobOutcomes, JobQueue, StudyEvent } from "../job-queue.js";
import type { Store } from "../store/store.js";
import { sleep } from "./wait.js";

/** Which jobs of a study a worker does that has no queue: those whose place in the list is `index` modulo `of`. */
export interface Share {
  readonly index: number;
  readonly of: number;
}

export interface ShareOptions extends Share {
  readonly store: Store;
  /** Does the jobs, in this process. */
  readonly queue: JobQueue;
  readonly signal: AbortSignal;
  /** Milliseconds without a sign of life after which what others should have done is done here. */
  readonly patience?: number;
  /** Milliseconds between two looks. */
  readonly pause?: number;
}

const PATIENCE = 600_000;
const PAUSE = 2000;

/** Does the jobs of a share in their order; returns what came of them. */
export async function* doShare(jobs: StudyJobs, options: ShareOptions): AsyncGenerator<StudyEvent, JobOutcome[]> {
  const { signal, index, of } = options;
  const list = [jobs.original, ...jobs.observations, ...jobs.compressions];
  const done = new Map<string, JobOutcome>();
  const outcomes: JobOutcome[] = [];
  for (const job of list.filter((_, place) => place % of === index)) {
    signal.throwIfAborted();
    for (const id of job.needs) {
      const needed = list.find((other) => other.id === id);
      if (needed === undefined || done.has(id)) continue;
      await waitFor(needed, options);
      // Done by now, or nobody does it: then it is done here.
      done.set(id, yield* work(needed, done, options));
    }
    const outcome = yield* work(job, done, options);
    done.set(job.id, outcome);
    outcomes.push(outcome);
  }
  return outcomes;
}

async function* work(
  job: Job,
  done: JobOutcomes,
  { queue, store }: ShareOptions,
): AsyncGenerator<StudyEvent, JobOutcome> {
  const stop = store.showLife(job.id);
  try {
    return (yield* queue.run([job], done)).get(job.id)!;
  } finally {
    stop();
  }
}

/** Waits until a job is done, or until whoever should do it shows no sign of life. */
async function waitFor(job: Job, { store, signal, patience = PATIENCE, pause = PAUSE }: ShareOptions): Promise<void> {
  let sign = "";
  let seen = performance.now();
  while ((await store.job(job.id)) === undefined) {
    const now = await store.signOfLife(job.id);
    if (now !== sign) [sign, seen] = [now, performance.now()];
    if (performance.now() - seen > patience) return;
    await sleep(pause, signal);
    signal.throwIfAborted();
  }
}
