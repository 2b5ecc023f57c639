import { writeFile } from "node:fs/promises";
import { resolve } from "node:path";
import { Command, Option } from "commander";
import { writeError } from "../checkpoint/durable.js";
import { formatTable } from "../format.js";
import { follow } from "../pipeline/follow.js";
import type { Analysis, RatioAnalysis } from "../study/analysis/analysis.js";
import type { Estimate } from "../study/analysis/estimate.js";
import { logPath } from "../study/job-folder.js";
import type { JobQueue } from "../study/job-queue.js";
import { localQueue } from "../study/local-queue.js";
import { mixKey } from "../study/mix.js";
import { kubernetesJob, slurmScript } from "../study/queue/cluster-files.js";
import { runStudy, type StudyOutcome } from "../study/run-study.js";
import { parseStoreAddress } from "../study/store/address.js";
import { openStore } from "../study/store/store.js";
import { readStudy, type Study } from "../study/study-file.js";
import { addOutputOptions, type Outcome, type OutputFlags, type RunContext, runCommand } from "./run-command.js";
import { storeOption } from "./store-option.js";
import { studyFolder } from "./study-folder.js";
import { wholeNumber } from "./whole-number.js";

const EXAMPLES = `
Examples:
  $ ream study study.yaml
  $ ream study study.yaml --out results --json > study.json
  $ ream study study.yaml --search budget=3
  $ ream study study.yaml --queue redis://host:6379
  $ ream study study.yaml --queue redis://host:6379 --store s3://bucket/study
  $ ream study study.yaml --slurm study.sh --workers 8

A study file names model, mixes, methods, numbers of experts and tasks (docs/study.md). What is done is never repeated:
the same command goes on, and a changed file adds what is new. On several machines: docs/study-queue.md.`;

interface Flags extends OutputFlags {
  readonly out?: string;
  readonly search?: number;
  readonly queue?: string;
  readonly store?: string;
  readonly slurm?: string;
  readonly kubernetes?: string;
  readonly workers: number;
}

export function studyCommand(done: (status: number) => void): Command {
  const command = new Command("study")
    .summary("many compressions, their Pareto frontier, and a report")
    .description("Compresses a model in many ways, evaluates every result, and says which mix and method to choose.")
    .argument("<file>", "YAML or JSON file of the study")
    .addOption(new Option("--out <folder>", "folder of the study; an interrupted one goes on from it"))
    .addOption(
      new Option(
        "--search <budget>",
        "rank all mixes by held-out text and evaluate the most promising: budget=N of each method and number of experts",
      ).argParser(searchBudget),
    );
  const machines = "Several machines:";
  command
    .addOption(new Option("--queue <url>", "have the jobs done by `ream worker --queue URL`").helpGroup(machines))
    .addOption(storeOption().helpGroup(machines))
    .addOption(
      new Option("--slurm <file>", "write a SLURM job array that does the jobs, and do nothing").helpGroup(machines),
    )
    .addOption(
      new Option("--kubernetes <file>", "write an Indexed Job that does the jobs, and do nothing").helpGroup(machines),
    )
    .addOption(
      new Option("--workers <number>", "workers in such a file")
        .argParser(wholeNumber(1))
        .default(4)
        .helpGroup(machines),
    );
  addOutputOptions(command).addHelpText("after", EXAMPLES);
  return command.action(async (file: string, flags: Flags) => {
    done(await runCommand(flags, (context) => run(file, flags, context), "Interrupted. The same command goes on."));
  });
}

function searchBudget(text: string): number {
  return wholeNumber(1)(text.replace(/^budget=/, ""));
}

async function run(file: string, flags: Flags, { signal, onEvent }: RunContext): Promise<Outcome> {
  const study = await readStudy(file, flags.search === undefined ? {} : { search: { budget: flags.search } });
  const folder = studyFolder(file, study, flags.out);
  if (flags.slurm !== undefined || flags.kubernetes !== undefined) return writeClusterFiles(file, study, folder, flags);
  const work = async (queue: JobQueue) => outcome(await follow(runStudy(study, folder, queue, signal), onEvent));
  const store = await openStore(flags.store, folder, signal);
  try {
    if (flags.queue === undefined) return await work(localQueue(folder, study.budget, signal, store));
    // Loading what talks to Redis takes longer than all else.
    const { onBoard } = await import("../study/queue/on-board.js");
    const { redisQueue } = await import("../study/queue/redis-queue.js");
    return await onBoard(flags.queue, store, (board) => work(redisQueue(board, study.budget, signal)));
  } finally {
    store.close();
  }
}

async function writeClusterFiles(
  file: string,
  { title }: Study,
  out: string,
  { slurm, kubernetes, workers, store }: Flags,
): Promise<Outcome> {
  const about = { title, file: resolve(file), out, store: store && parseStoreAddress(store).url, workers };
  const written: string[] = [];
  const write = async (path: string | undefined, text: () => string) => {
    if (path === undefined) return;
    await writeFile(path, text()).catch((error) => Promise.reject(writeError(error, path)));
    written.push(path);
  };
  await write(slurm, () => slurmScript(about));
  await write(kubernetes, () => kubernetesJob(about));
  return { json: { written, workers }, text: `Written to ${written.join(", ")}\n` };
}

function outcome(result: StudyOutcome): Outcome {
  const { analysis, failures, leftOut, out, search } = result;
  const lines = [
    ...analysis.ratios.flatMap((ratio) => describeRatio(ratio, analysis)),
    ...(search ?? []).map(
      ({ method, experts, ranked, evaluated, divergence }) =>
        `search: ${method} ${experts}: ${evaluated} of ${ranked} mixes evaluated` +
        (divergence?.spearman === undefined ? "" : `; KL ranked them with rho ${divergence.spearman.toFixed(2)}`),
    ),
    ...failures.map(
      ({ job, error }) =>
        `failed: ${job.label}: ${error.code}: ${error.message.split("\n")[0]} (${logPath(out, job.id)})`,
    ),
    ...(leftOut.length > 0 ? [`${leftOut.length} jobs were left out by the budget.`] : []),
    `Written to ${out}: results.json, analysis.json, report.html`,
  ];
  const told = failures.map(({ job, error }) => ({ id: job.id, label: job.label, ...error }));
  return {
    json: { out, analysis, failures: told, leftOut: leftOut.map(({ id, label }) => ({ id, label })), search },
    text: `${lines.join("\n")}\n`,
  };
}

function describeRatio(ratio: RatioAnalysis, { original }: Analysis): string[] {
  const points = ratio.points.map(({ method, mix, scores }, i) => [
    `${method}${ratio.frontier.includes(i) ? " *" : ""}`,
    mixKey(mix),
    ...[scores.mc, scores.gen, scores.avg].map(estimate),
  ]);
  const methods = ratio.methods.map(({ method, hypervolume, optimal, mean }) => [
    method,
    hypervolume === undefined ? "" : estimate(hypervolume),
    `${optimal.own}/${optimal.of}`,
    mean === undefined ? "" : estimate(mean.avg),
  ]);
  const pairs = ratio.pairs.map(({ first, second, mean, closed }) => [
    second,
    first,
    signedInterval(mean.avg),
    closed.avg === undefined ? "" : `${Math.round(100 * closed.avg.value) + 0} %`,
  ]);
  return [
    `${ratio.experts} experts`,
    formatTable([
      ["method", "mix", "MC", "GEN", "AVG"],
      ...(original === undefined
        ? []
        : [["original", "", ...[original.mc, original.gen, original.avg].map((value) => value.toFixed(1))]]),
      ...points,
    ]),
    "* = Pareto-optimal",
    "",
    formatTable([["method", "hypervolume", "optimal mixes", "mean AVG"], ...methods]),
    "",
    ...(pairs.length === 0 ? [] : [formatTable([["method", "against", "AVG (95 %)", "gap closed"], ...pairs]), ""]),
  ];
}

function estimate({ value, standardError }: Estimate): string {
  return standardError === undefined ? value.toFixed(1) : `${value.toFixed(1)} ± ${standardError.toFixed(1)}`;
}

/** Second less first of a difference that says first less second. */
function signedInterval({ value, interval }: Estimate): string {
  // Zero has no sign.
  const signed = (number: number) => `${number > 0 ? "+" : ""}${(Math.round(10 * number) / 10 + 0).toFixed(1)}`;
  return interval === undefined
    ? signed(-value)
    : `${signed(-value)} (${signed(-interval[1])} to ${signed(-interval[0])})`;
}
