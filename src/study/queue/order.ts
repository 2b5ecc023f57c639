import type { Unit } from "../../observe/cuts.js";
import type { ObserveOptions } from "../../observe/options.js";
import type { CompressOptions } from "../../pipeline/options.js";
import type { OutputIdentity } from "../../pipeline/output-identity.js";
import type { Part } from "../../pipeline/split/part.js";
import type { Job } from "../job.js";
import type { JobFailure } from "../job-queue.js";

/** A piece of work as it lies on a queue: a job of a study, a unit of an observation, or a part of a compression. */
export interface Order {
  readonly work: { readonly kind: "job"; readonly job: Job } | UnitWork | PartWork;
  /** For people. */
  readonly label: string;
  /** Folder in which relative paths hold. */
  readonly workingFolder: string;
}

export interface UnitWork {
  readonly kind: "unit";
  readonly options: ObserveOptions;
  readonly unit: Unit;
}

export interface PartWork {
  readonly kind: "part";
  readonly options: CompressOptions;
  /** Of the output: a worker that would make another one must not add to it. */
  readonly identity: OutputIdentity;
  readonly part: Part;
}

/** An error as it travels: in the text that a queue keeps of it. */
export function encodeError({ code, message }: JobFailure["error"]): string {
  return JSON.stringify({ code, message });
}

/** Of texts that are not ours, the queue's own: a job whose workers died too often. */
export function decodeError(text: string): JobFailure["error"] {
  try {
    const { code, message } = JSON.parse(text);
    if (typeof code === "string" && typeof message === "string") return { code, message };
  } catch {
    // No JSON.
  }
  return { code: "JOB_STALLED", message: text };
}
