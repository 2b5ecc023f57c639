import { rankQuality } from "./analysis/rank-quality.js";
import { predictionOf } from "./expand.js";
import type { Job } from "./job.js";
import type { JobOutcomes, JobQueue, StudyEvent } from "./job-queue.js";
import type { Study } from "./study-file.js";

/** How well held-out text foretold the scores of the mixes that were evaluated, for one method and number of experts. */
export interface SearchQuality {
  readonly method: string;
  readonly experts: number;
  /** Mixes that were ranked, and those of them that were evaluated. */
  readonly ranked: number;
  readonly evaluated: number;
  /** Against AVG, over the evaluated mixes: of KL (lower is better), and of the rank of the last hidden states. */
  readonly divergence: ReturnType<typeof rankQuality> | undefined;
  readonly rank: ReturnType<typeof rankQuality> | undefined;
}

export type SearchReport = readonly SearchQuality[];

/** The jobs that a search chose, and what it can say when they are done. */
export interface Chosen {
  readonly jobs: readonly Job[];
  report(outcomes: JobOutcomes): SearchReport;
}

/**
 * Compresses with every mix, measures each result on held-out text, which takes seconds where the tasks take minutes, and
 * chooses for each method and number of experts the mixes whose mean KL over the domains is lowest.
 */
export async function* search(
  study: Study,
  compressions: readonly Job[],
  before: JobOutcomes,
  queue: JobQueue,
): AsyncGenerator<StudyEvent, Chosen> {
  const budget = study.search!.budget;
  const predictions = new Map(compressions.map((job) => [job.id, predictionOf(job)]));
  const measured = yield* queue.run([...predictions.values()], before);
  const divergence = (job: Job) => divergenceOf(measured, predictions.get(job.id)!);
  const groups = groupsOf(compressions);
  const jobs = groups.flatMap((group) => {
    const ranked = group.filter((job) => divergence(job) !== undefined);
    return ranked.sort((a, b) => divergence(a)! - divergence(b)!).slice(0, budget);
  });
  return {
    jobs,
    report: (outcomes) => groups.map((group) => qualityOf(group, jobs, predictions, measured, outcomes)),
  };
}

/** Jobs that differ in their mix alone. */
function groupsOf(jobs: readonly Job[]): Job[][] {
  const groups = new Map<string, Job[]>();
  for (const job of jobs) {
    if (job.spec.kind !== "compress") continue;
    const { name, experts, text } = job.spec;
    const key = JSON.stringify([name, experts, text.seed]);
    groups.set(key, [...(groups.get(key) ?? []), job]);
  }
  return [...groups.values()];
}

/** Mean KL over the domains of held-out text. */
function divergenceOf(outcomes: JobOutcomes, { id }: Job): number | undefined {
  const outcome = outcomes.get(id);
  if (outcome?.state !== "done") return undefined;
  const values = Object.values(outcome.result.heldOut ?? {}).flatMap(({ kl }) => (kl === undefined ? [] : [kl]));
  return values.length === 0 ? undefined : values.reduce((sum, kl) => sum + kl, 0) / values.length;
}

function qualityOf(
  group: readonly Job[],
  chosen: readonly Job[],
  predictions: ReadonlyMap<string, Job>,
  measured: JobOutcomes,
  outcomes: JobOutcomes,
): SearchQuality {
  const { spec } = group[0]!;
  if (spec.kind !== "compress") throw new TypeError(`a job of kind ${spec.kind} is no compression`);
  const rows = group.flatMap((job) => {
    const outcome = outcomes.get(job.id);
    const prediction = measured.get(predictions.get(job.id)!.id);
    if (!chosen.includes(job) || outcome?.state !== "done" || prediction?.state !== "done") return [];
    const avg = outcome.result.scored?.avg;
    const kl = divergenceOf(measured, predictions.get(job.id)!);
    return avg === undefined || kl === undefined ? [] : [{ avg, kl, rank: prediction.result.rank }];
  });
  const scores = rows.map(({ avg }) => avg);
  const ranks = rows.flatMap(({ rank }) => (rank === undefined ? [] : [rank]));
  const enough = rows.length >= 2;
  return {
    method: spec.name,
    experts: spec.experts,
    ranked: group.length,
    evaluated: rows.length,
    divergence: enough
      ? rankQuality(
          rows.map(({ kl }) => -kl),
          scores,
        )
      : undefined,
    rank: enough && ranks.length === rows.length ? rankQuality(ranks, scores) : undefined,
  };
}
