import { parseMix } from "../calibration/mix.js";
import { ReamError } from "../errors.js";
import type { JudgedTask } from "../evaluate/compare/judged.js";
import { compareTask } from "../evaluate/compare/task.js";
import type { StudyJobs } from "./expand.js";
import type { ItemsOfStudy, StudyItems } from "./items.js";
import type { Job } from "./job.js";
import { readJobItems } from "./job-folder.js";
import type { JobOutcomes } from "./job-queue.js";
import { checkResults, type Row, type Scored, type StudyResults } from "./results.js";
import type { Study } from "./study-file.js";

/** The results of all jobs that are done, as one file says them, and the scores of their items. Errors: STUDY_ORIGINAL. */
export async function assemble(
  study: Study,
  jobs: StudyJobs,
  outcomes: JobOutcomes,
  out: string,
): Promise<{ readonly results: StudyResults; readonly items: ItemsOfStudy }> {
  const result = ({ id }: Job) => {
    const outcome = outcomes.get(id);
    return outcome?.state === "done" ? outcome.result : undefined;
  };
  const original = result(jobs.original);
  const { spec } = jobs.original;
  if (original?.scored === undefined) {
    const outcome = outcomes.get(jobs.original.id);
    const why = outcome?.state === "failed" ? `: ${outcome.error.message}` : "";
    throw new ReamError("STUDY_ORIGINAL", `the original was not evaluated${why}`, {
      where: spec.model,
      hint: "The same command tries again.",
    });
  }
  const originalItems = await readJobItems(out, jobs.original.id);
  const rows: Row[] = [];
  const itemsOfRows: ItemsOfStudy["rows"][number][] = [];
  for (const job of jobs.compressions) {
    const made = result(job);
    if (made?.scored === undefined || job.spec.kind !== "compress") continue;
    const { name, experts, mix, text } = job.spec;
    const { seconds, memoryBytes, outputBytes, rank } = made;
    const items = await readJobItems(out, job.id);
    const differences = originalItems && items && differencesOf(originalItems, items);
    itemsOfRows.push(items);
    rows.push({
      method: name,
      experts,
      mix: Object.fromEntries(parseMix(mix).map(({ name, ratio }) => [name, ratio])),
      ...(study.seeds.length > 1 && { seed: text.seed }),
      ...made.scored,
      items: itemsPath(job),
      job: job.id,
      ...(rank !== undefined && { rank }),
      seconds,
      ...(memoryBytes !== undefined && { memoryBytes }),
      ...(outputBytes !== undefined && { outputBytes }),
      ...(differences !== undefined && { differences }),
    });
  }
  const scored: Scored = { ...original.scored, items: itemsPath(jobs.original) };
  const results = {
    format: "ream-study-results" as const,
    version: 1 as const,
    title: study.title,
    model: { name: study.modelName, experts: jobs.limits.experts },
    note: noteOf(study),
    original: scored,
    rows,
    ...(study.references !== undefined && { references: study.references }),
  };
  return { results: checkResults(results, "results.json"), items: { original: originalItems, rows: itemsOfRows } };
}

function itemsPath({ id }: Job): string {
  return `jobs/${id}/items.json`;
}

function noteOf({ observed, sequences, length, limit }: Study): string {
  const how = observed
    ? "All compressions were planned from one observation of the original model (not sequential)."
    : "Every compression observed its own text.";
  const items = limit === undefined ? "All items of the tasks were asked." : `${limit} items of each task were asked.`;
  return `${how} Mixes of ${sequences} sequences of ${length} tokens. ${items}`;
}

/** Paired differences of every task in points, with their intervals of 95 % and the p of their tests. */
function differencesOf(original: StudyItems, compressed: StudyItems): NonNullable<Row["differences"]> {
  const differences: NonNullable<Row["differences"]> = {};
  for (const [name, before] of Object.entries(original.tasks)) {
    const after = compressed.tasks[name];
    if (after === undefined || after.asked !== before.asked) continue;
    const { difference, test } = compareTask(judged(name, before), judged(name, after));
    if (difference.interval === undefined || test === undefined) continue;
    const [low, high] = difference.interval;
    differences[name] = { points: 100 * difference.value, low: 100 * low, high: 100 * high, p: test.p };
  }
  return differences;
}

function judged(name: string, { suite, scores, asked }: StudyItems["tasks"][string]): JudgedTask {
  const items = scores.map((score, docId) => {
    return { task: name, docId, digest: asked, parts: typeof score === "number" ? [score] : score, answer: "" };
  });
  return { name, suite, primary: asked, items };
}
