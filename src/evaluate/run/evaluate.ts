import { access, constants, mkdir, readdir } from "node:fs/promises";
import { join } from "node:path";
import { writeError, writeJsonFile } from "../../checkpoint/durable.js";
import { takeLock } from "../../checkpoint/lock.js";
import { ReamError } from "../../errors.js";
import { hubOptionsFromEnvironment } from "../../hub/settings.js";
import { openModel } from "../../pipeline/open-model.js";
import { relay } from "../../pipeline/relay.js";
import { VERSION } from "../../version.js";
import type { JudgedTask } from "../compare/judged.js";
import { DocLoader } from "../data/load-docs.js";
import { checkDataNames } from "../data/local-files.js";
import { findTasks, listTasks } from "../tasks/registry.js";
import { compareSubjects } from "./compare-subjects.js";
import { dumpRequests } from "./dump-requests.js";
import { evaluateSubject, type SubjectOutcome } from "./evaluate-subject.js";
import type { Evaluation } from "./evaluation.js";
import type { EvaluateEvent } from "./events.js";
import { HeldOutText } from "./held-out-text.js";
import { judgedTasks } from "./judged-items.js";
import { type EvaluateOptions, evaluateOptions, type ResolvedEvaluateOptions } from "./options.js";
import { type PreparedTask, prepareTask } from "./prepare.js";
import type { RunContext } from "./run-context.js";
import { type Subject, subjectsOf } from "./subject.js";

/**
 * Evaluates models on tasks and compares each with the first. Results are kept in `out` as they come: the same call goes
 * on from there. Returns what was found, which is in `out`/evaluation.json as well.
 * Errors: OPTION_MISSING, OPTION_INVALID, EVALUATION_DIFFERS, and those of models, tasks, data and endpoints.
 */
export async function* evaluate(
  given: EvaluateOptions,
  signal: AbortSignal,
): AsyncGenerator<EvaluateEvent, Evaluation> {
  return (yield* evaluateItems(given, signal)).evaluation;
}

/** An evaluation with what came of every item. */
export interface DetailedEvaluation {
  readonly evaluation: Evaluation;
  /** Tasks of each subject, in their order. */
  readonly judged: readonly (readonly JudgedTask[])[];
}

/** As `evaluate`, with every item's score. */
export async function* evaluateItems(
  given: EvaluateOptions,
  signal: AbortSignal,
): AsyncGenerator<EvaluateEvent, DetailedEvaluation> {
  const options = evaluateOptions.parse(given);
  return yield* relay<EvaluateEvent, DetailedEvaluation>((emit) => run({ options, signal, emit }));
}

/** Writes what the first model would be asked to the file `dumpRequests`; returns the number of lines by task. */
export async function* dumpEvaluation(
  given: EvaluateOptions & { readonly dumpRequests: string },
  signal: AbortSignal,
): AsyncGenerator<EvaluateEvent, Record<string, number>> {
  const options = evaluateOptions.parse(given);
  return yield* relay<EvaluateEvent, Record<string, number>>(async (emit) => {
    const context = { options, signal, emit };
    return dumpRequests(subjectsOf(options), await prepare(context), given.dumpRequests, context);
  });
}

async function run(given: RunContext): Promise<DetailedEvaluation> {
  const subjects = subjectsOf(given.options);
  checkSubjects(subjects, given.options);
  const context = { ...given, options: withoutExamples(given.options, subjects) };
  const { options, signal } = context;
  await checkPlaces(subjects, context);
  const prepared = await prepare(context);
  await claimFolder(options.out);
  const unlock = await takeLock(join(options.out, STATE));
  const heldOut = new HeldOutText(context);
  try {
    const began = new Date();
    const outcomes: SubjectOutcome[] = [];
    for (const subject of subjects) {
      signal.throwIfAborted();
      outcomes.push(await evaluateSubject(subject, prepared, heldOut, context));
    }
    const evaluation: Evaluation = {
      format: "ream-evaluation/1",
      version: VERSION,
      out: options.out,
      began: began.toISOString(),
      options,
      subjects: outcomes.map(({ result }) => result),
      comparisons: compareSubjects(outcomes, context),
    };
    await writeJsonFile(join(options.out, "evaluation.json"), evaluation);
    return { evaluation, judged: outcomes.map(({ tasks }) => judgedTasks(tasks)) };
  } catch (error) {
    throw writeError(error, options.out);
  } finally {
    await heldOut.close();
    await unlock();
  }
}

/** Answers that are there already need no examples: nobody is asked. */
function withoutExamples(options: ResolvedEvaluateOptions, subjects: readonly Subject[]): ResolvedEvaluateOptions {
  const given = subjects.every(({ kind }) => kind === "answers");
  return given ? { ...options, fewshot: options.fewshot ?? 0 } : options;
}

function checkSubjects(subjects: readonly Subject[], options: ResolvedEvaluateOptions): void {
  if ((options.endpoint === undefined) !== (options.model.length === 0)) {
    throw new ReamError("OPTION_MISSING", "an endpoint and the name of a model behind it are given together", {
      where: options.endpoint === undefined ? "--endpoint" : "--model",
      hint: "As in --endpoint http://localhost:8000/v1 --model NAME.",
    });
  }
  if (subjects.length > 0) return;
  throw new ReamError("OPTION_MISSING", "there is nothing to evaluate", {
    where: "MODEL",
    hint: "Name folders or hub ids, or --endpoint URL --model NAME, or --judge FILE.",
  });
}

/** A name that is mistyped is found before the first model works for hours. */
async function checkPlaces(subjects: readonly Subject[], { signal, emit }: RunContext): Promise<void> {
  for (const subject of subjects) {
    signal.throwIfAborted();
    if (subject.kind === "local") {
      const { checkpoint } = await openModel(subject.name, { onEvent: emit, signal });
      await checkpoint.close();
    }
    if (subject.kind === "answers") await checkReadable(subject.file);
  }
}

async function checkReadable(file: string): Promise<void> {
  await access(file, constants.R_OK).catch((cause: Error) => {
    throw new ReamError("ANSWERS_READ", `the file of answers cannot be read: ${cause.message}`, {
      where: file,
      hint: "Give the path of a file to --judge, or NAME=FILE.",
      cause,
    });
  });
}

async function prepare({ options, signal, emit }: RunContext): Promise<PreparedTask[]> {
  const tasks = await findTasks(namesIn(options.tasks));
  const { data, seed, limit, fewshot } = options;
  const { suites, groups, tasks: others } = listTasks();
  await checkDataNames(data, tasks, [...suites, ...groups, ...others]);
  const hub = { ...hubOptionsFromEnvironment(process.env), onEvent: emit, signal };
  const loader = new DocLoader({ data, seed, hub, ...(fewshot !== undefined && { fewshot: fewshot > 0 }) });
  const prepared: PreparedTask[] = [];
  const leaveOut = new Set(namesIn(options.leaveOut));
  for (const task of tasks) {
    signal.throwIfAborted();
    prepared.push(await prepareTask(task, loader, { limit, seed, leaveOut }));
  }
  checkLeftOut(leaveOut, prepared);
  return prepared;
}

/** The names of an option that can be repeated, and holds several with commas. */
function namesIn(lists: readonly string[]): string[] {
  return lists.flatMap((list) => list.split(",")).filter((name) => name !== "");
}

/** A name that is mistyped would leave nothing out, and nobody would see it. */
function checkLeftOut(leaveOut: ReadonlySet<string>, prepared: readonly PreparedTask[]): void {
  const known = new Set(prepared.flatMap(({ task, items }) => items.map(({ id }) => `${task.name}:${id}`)));
  const unknown = [...leaveOut].find((name) => !known.has(name));
  if (unknown === undefined) return;
  throw new ReamError("OPTION_INVALID", `${JSON.stringify(unknown.slice(0, 100))} is no item of the tasks`, {
    where: "--leave-out",
    hint: "Write TASK:DOC_ID, as in gsm8k:12; DOC_ID is the position in the split.",
  });
}

const STATE = ".ream";

/** A folder that is not empty and holds no evaluation is left alone: OUTPUT_EXISTS. */
async function claimFolder(out: string): Promise<void> {
  try {
    const names = await readdir(out).catch((error: NodeJS.ErrnoException): string[] => {
      if (error.code === "ENOENT") return [];
      throw error;
    });
    if (names.length > 0 && !names.includes(STATE)) {
      throw new ReamError("OUTPUT_EXISTS", "the folder holds files that are not of an evaluation", {
        where: out,
        hint: "Choose another folder with --out.",
      });
    }
    await mkdir(join(out, STATE), { recursive: true });
  } catch (error) {
    throw writeError(error, out);
  }
}
