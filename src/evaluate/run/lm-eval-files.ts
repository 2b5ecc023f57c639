import { join } from "node:path";
import { writeDurably, writeJsonFile, writeJsonLines } from "../../checkpoint/durable.js";
import { sha256 } from "../../sha256.js";
import { VERSION } from "../../version.js";
import type { Verdict } from "../judge.js";
import { itemParts, type Summary } from "../metrics/summary.js";
import type { Task } from "../task.js";
import type { ItemOutcome, TaskResult } from "./results.js";

/** Where the files of one model go, and when it was evaluated. */
export interface LmEvalTarget {
  readonly folder: string;
  readonly model: string;
  readonly began: Date;
  readonly seconds: number;
}

/**
 * Writes what lm-eval 0.4 leaves of a run: `results_<date>.json` and `samples_<task>_<date>.jsonl`, with the keys that
 * its users' tables read.
 */
export async function writeLmEvalFiles(
  target: LmEvalTarget,
  tasks: readonly TaskResult[],
  groups: Readonly<Record<string, Summary>>,
): Promise<void> {
  const date = target.began.toISOString().replace("Z", "000").replaceAll(":", "-");
  const results = resultsOf(target, tasks, groups);
  await writeJsonFile(join(target.folder, `results_${date}.json`), results);
  for (const result of tasks) {
    const path = join(target.folder, `samples_${result.task.name}_${date}.jsonl`);
    await writeDurably(path, `${path}.partial`, (handle) => writeJsonLines(handle, samplesOf(result)));
  }
}

function resultsOf(target: LmEvalTarget, tasks: readonly TaskResult[], groups: Readonly<Record<string, Summary>>) {
  const byTask = <Value>(value: (result: TaskResult) => Value) =>
    Object.fromEntries(tasks.map((result) => [result.task.name, value(result)]));
  const grouped = (name: string) => tasks.filter(({ task }) => task.groups?.includes(name));
  return {
    results: {
      ...byTask(({ task, summary }) => ({
        alias: task.name,
        name: task.name,
        sample_len: summary.n,
        ...summary.metrics,
      })),
      ...Object.fromEntries(
        Object.entries(groups).map(([name, { metrics, n }]) => [
          name,
          { alias: name, name, sample_len: n, ...metrics },
        ]),
      ),
    },
    groups: Object.fromEntries(
      Object.entries(groups).map(([name, { metrics, n }]) => [name, { alias: name, name, sample_len: n, ...metrics }]),
    ),
    group_subtasks: Object.fromEntries(
      Object.keys(groups).map((name) => [name, grouped(name).map(({ task }) => task.name)]),
    ),
    configs: byTask(({ task, fewshot }) => configOf(task, fewshot)),
    versions: byTask(({ task }) => task.version),
    "n-shot": byTask(({ fewshot }) => fewshot),
    higher_is_better: byTask(({ summary }) =>
      Object.fromEntries(
        Object.keys(summary.metrics)
          .filter((key) => !key.includes("_stderr"))
          .map((key) => [key.replace(/,.*/, ""), true]),
      ),
    ),
    "n-samples": byTask(({ rows, summary }) => ({ original: rows, effective: summary.n })),
    config: { model: "ream", model_args: { pretrained: target.model }, ream_version: VERSION },
    date: target.began.getTime() / 1000,
    task_hashes: byTask(({ requests }) => requests),
    model_name: target.model,
    total_evaluation_time_seconds: String(target.seconds),
  };
}

function configOf(task: Task, fewshot: number) {
  return {
    task: task.name,
    output_type: task.kind === "choice" ? "multiple_choice" : "generate_until",
    num_fewshot: fewshot,
    ...("repository" in task.data && {
      dataset_path: task.data.repository,
      dataset_name: task.data.config ?? null,
      test_split: task.data.split,
    }),
    metadata: { version: task.version },
  };
}

/** A line for each item; a generative task with several filters has one for each filter, as lm-eval writes them. */
function* samplesOf({ task, items }: TaskResult): Generator<object> {
  for (const item of items) yield* itemSamples(task, item);
}

function itemSamples(task: Task, { request, doc, result }: ItemOutcome): object[] {
  const { verdicts = [], scored, generations } = result;
  const target = request.kind === "choice" ? String(request.gold) : request.target;
  const common = {
    doc_id: request.docId,
    doc,
    target,
    doc_hash: sha256(JSON.stringify(doc, null, 2)),
    prompt_hash: request.promptHash,
    target_hash: sha256(target),
  };
  if (request.kind === "choice") {
    const { contexts, continuations } = request;
    const gen = continuations.map((continuation, i) => [
      `gen_args_${i}`,
      { arg_0: contexts[contexts.length === 1 ? 0 : i], arg_1: continuation },
    ]);
    const pairs = scored!.map(({ logLikelihood, greedy }) => [String(logLikelihood), greedy ? "True" : "False"]);
    const scores = Object.entries(verdicts[0]?.scores ?? {}).map(([key, value]) => [key.replace(/,.*/, ""), value]);
    return [
      {
        ...common,
        arguments: Object.fromEntries(gen),
        resps: pairs.map((pair) => [pair]),
        filtered_resps: pairs,
        filter: "none",
        metrics: scores.map(([key]) => key),
        ...Object.fromEntries(scores),
      },
    ];
  }
  const keys = task.kind === "generate" ? task.judge.metrics : [];
  const filters = [...new Set(keys.map((key) => key.replace(/^[^,]*,?/, "") || "none"))];
  return filters.map((filter) => {
    const scores = keys
      .filter((key) => (key.replace(/^[^,]*,?/, "") || "none") === filter)
      .map((key) => [key.replace(/,.*/, ""), itemScore(verdicts, key)] as const);
    return {
      ...common,
      arguments: {
        gen_args_0: {
          arg_0: request.context ?? JSON.stringify(request.messages),
          arg_1: { until: request.stops, max_gen_toks: request.maxTokens },
        },
      },
      resps: [generations!.map(({ text }) => text)],
      filtered_resps: verdicts.map(({ extracted }, i) => extracted?.[filter] ?? generations![i]!.text),
      filter,
      metrics: scores.map(([key]) => key),
      ...Object.fromEntries(scores),
    };
  });
}

/** The mean over the item's answers: a number, or a list where the metric counts parts. */
function itemScore(verdicts: readonly Verdict[], metric: string): number | readonly number[] {
  const parts = itemParts(verdicts, metric);
  return Array.isArray(verdicts[0]!.scores[metric]) ? parts : parts[0]!;
}
