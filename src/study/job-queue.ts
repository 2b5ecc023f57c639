import type { JobEvent } from "./execute-job.js";
import type { Job } from "./job.js";
import type { JobResult } from "./job-folder.js";

/** A job that did not come to its end, and why. */
export interface JobFailure {
  readonly state: "failed";
  readonly job: Job;
  readonly error: { readonly code: string; readonly message: string };
}

export type JobOutcome =
  | { readonly state: "done"; readonly job: Job; readonly result: JobResult }
  | JobFailure
  | { readonly state: "left-out"; readonly job: Job };

/** By id. */
export type JobOutcomes = ReadonlyMap<string, JobOutcome>;

/** What a study tells while it works. */
export type StudyEvent =
  | {
      readonly type: "study";
      /** Jobs of this part of the study: done, failed, and in all. */
      readonly done: number;
      readonly failed: number;
      readonly total: number;
    }
  | {
      readonly type: "job";
      readonly id: string;
      readonly label: string;
      readonly state: "started" | "done" | "reused" | "failed";
      readonly seconds?: number;
      readonly message?: string;
    }
  | { readonly type: "job-event"; readonly id: string; readonly label: string; readonly event: JobEvent };

/** Does jobs, here or elsewhere. */
export interface JobQueue {
  /** Does the jobs, of which some may be done already. @param before outcomes of jobs that these may need */
  run(jobs: readonly Job[], before: JobOutcomes): AsyncGenerator<StudyEvent, JobOutcomes>;
}
