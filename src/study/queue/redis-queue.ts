import { ReamError } from "../../errors.js";
import type { Job } from "../job.js";
import { appendLog, type JobResult } from "../job-folder.js";
import type { JobOutcome, JobOutcomes, JobQueue, StudyEvent } from "../job-queue.js";
import { failed, failedNeed, named, progress } from "../local-queue.js";
import { Spending } from "../spending.js";
import type { Study } from "../study-file.js";
import type { Board, OrderState } from "./board.js";
import { sleep, unlessAborted } from "./wait.js";

/** Milliseconds between two looks at the board. */
const PAUSE = 500;
/** Milliseconds within which a result has to be visible here after the worker has written it: file servers have caches. */
const VISIBLE = 60_000;

/** Has jobs done by the workers of a board. */
export function redisQueue(board: Board, budget: Study["budget"], signal: AbortSignal): JobQueue {
  const spending = new Spending(budget);
  return { run: (jobs, before) => new Run(board, jobs, before, spending, signal).events() };
}

/** Some jobs on their way. */
class Run {
  private readonly outcomes = new Map<string, JobOutcome>();
  /** Not put up yet, for what they need. */
  private readonly waiting = new Map<string, Job>();
  /** Put up, with the last that was heard of each. */
  private readonly put = new Map<string, { readonly job: Job; heard?: string }>();

  constructor(
    private readonly board: Board,
    private readonly jobs: readonly Job[],
    private readonly before: JobOutcomes,
    private readonly spending: Spending,
    private readonly signal: AbortSignal,
  ) {}

  async *events(): AsyncGenerator<StudyEvent, JobOutcomes> {
    for (const job of this.jobs) {
      const result = await this.board.store.job(job.id);
      if (result === undefined) {
        this.waiting.set(job.id, job);
      } else if (!this.outcomes.has(job.id)) {
        this.outcomes.set(job.id, { state: "done", job, result });
        yield { type: "job", ...named(job), state: "reused" };
      }
    }
    yield progress(this.outcomes, this.jobs);
    for (;;) {
      for (const job of [...this.waiting.values()]) yield* this.begin(job);
      if (this.put.size === 0 && this.waiting.size === 0) return this.outcomes;
      await sleep(PAUSE, this.signal);
      for (const { job } of [...this.put.values()]) yield* this.look(job);
    }
  }

  /** Puts up a job, as soon as what it needs is done. */
  private async *begin(job: Job): AsyncGenerator<StudyEvent, void> {
    if (job.needs.some((id) => this.waiting.has(id) || this.put.has(id))) return;
    this.waiting.delete(job.id);
    if (failedNeed(job, this.outcomes, this.before)) {
      yield* this.fail(job, new ReamError("JOB_NEEDS", "what it needs was not done"));
    } else if (this.spending.start()) {
      const order = { work: { kind: "job" as const, job }, label: job.label, workingFolder: process.cwd() };
      await unlessAborted(this.board.put(job.id, order), this.signal);
      this.put.set(job.id, { job });
    } else {
      yield* this.end({ state: "left-out", job });
    }
  }

  private async *look(job: Job): AsyncGenerator<StudyEvent, void> {
    const state = await unlessAborted(this.board.look(job.id), this.signal);
    switch (state.state) {
      case "waiting":
        if (this.spending.late && (await unlessAborted(this.board.withdraw(job.id), this.signal)))
          yield* this.end({ state: "left-out", job });
        break;
      case "active":
        yield* this.hear(job, state);
        break;
      case "failed":
        yield* this.fail(job, new ReamError(state.error.code, state.error.message));
        break;
      case "done": {
        const result = await this.result(job);
        if (result === undefined) {
          const what = "a worker has done it, but its result is not to be seen here";
          yield* this.fail(
            job,
            new ReamError("JOB_RESULT", what, { hint: "The folder, or the store, must be the same for all." }),
          );
          break;
        }
        yield { type: "job", ...named(job), state: "done", seconds: result.seconds };
        yield* this.end({ state: "done", job, result });
      }
    }
  }

  private *hear(job: Job, { event }: Extract<OrderState, { state: "active" }>): Generator<StudyEvent, void> {
    const entry = this.put.get(job.id)!;
    if (entry.heard === undefined) yield { type: "job", ...named(job), state: "started" };
    const text = JSON.stringify(event) ?? "";
    if (event !== undefined && text !== entry.heard) yield { type: "job-event", ...named(job), event };
    entry.heard = text;
  }

  private async result({ id }: Job): Promise<JobResult | undefined> {
    const began = performance.now();
    for (;;) {
      const result = await this.board.store.job(id);
      if (result !== undefined || performance.now() - began > VISIBLE) return result;
      await sleep(PAUSE, this.signal);
      this.signal.throwIfAborted();
    }
  }

  private async *fail(job: Job, cause: ReamError): AsyncGenerator<StudyEvent, void> {
    const { folder, url } = this.board.store;
    const failure = await failed(folder, job, cause);
    // The worker's log is on its own machine.
    if (url !== undefined) await appendLog(folder, job.id, { error: failure.error });
    yield { type: "job", ...named(job), state: "failed", message: `${failure.error.code}: ${failure.error.message}` };
    yield* this.end(failure);
  }

  private *end(outcome: JobOutcome): Generator<StudyEvent, void> {
    this.put.delete(outcome.job.id);
    this.outcomes.set(outcome.job.id, outcome);
    yield progress(this.outcomes, this.jobs);
  }
}
