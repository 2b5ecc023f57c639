import { join } from "node:path";
import { ReamError } from "../errors.js";
import { follow } from "../pipeline/follow.js";
import type { Analysis } from "../study/analysis/analysis.js";
import { localQueue } from "../study/local-queue.js";
import { runStudy } from "../study/run-study.js";
import { readStudy, type Study } from "../study/study-file.js";
import type { RunContext } from "./run-command.js";

export interface DemoStudy {
  readonly out: string;
  /** File of the page. */
  readonly report: string;
  /** Items of each task. */
  readonly items: number;
  readonly analysis: Analysis;
}

/** What the demo's own options change in its study. */
export type StudyChanges = Pick<Study, "sequences" | "limit" | "backend" | "precision" | "threads"> & {
  readonly heldOutSequences: number;
};

/**
 * The study at the end of the demo (`demo/three-mixes.yaml`) with as many sequences and items as fit. What an earlier demo
 * has done of it is not done again. Errors: those of a study.
 */
export async function runDemoStudy(
  demo: string,
  out: string,
  { sequences, limit, heldOutSequences, ...engine }: StudyChanges,
  { signal, onEvent }: Pick<RunContext, "signal" | "onEvent">,
): Promise<DemoStudy> {
  const file = await readStudy(join(demo, "three-mixes.yaml"));
  const items = Math.min(file.limit!, limit ?? file.limit!);
  const study: Study = {
    ...file,
    ...engine,
    sequences: Math.min(file.sequences, sequences),
    heldOutSequences: Math.min(file.heldOutSequences, heldOutSequences),
    limit: items,
  };
  const result = await follow(runStudy(study, out, localQueue(out, study.budget, signal), signal), onEvent);
  const [failure] = result.failures;
  if (failure !== undefined)
    throw new ReamError(failure.error.code, failure.error.message, { where: failure.job.label });
  return { out, report: join(out, "report.html"), items, analysis: result.analysis };
}
