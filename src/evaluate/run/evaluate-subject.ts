import { rm } from "node:fs/promises";
import { join } from "node:path";
import { ReamError } from "../../errors.js";
import { scoreAverages, scoreOf } from "../compare/judged.js";
import { summariseGroups } from "../metrics/summary.js";
import { requestOptions } from "./chat-form.js";
import type { SubjectResult, TaskReport } from "./evaluation.js";
import { givenAnswers } from "./given-answers.js";
import type { HeldOutText } from "./held-out-text.js";
import { ItemFile } from "./item-file.js";
import { judgeAnswers } from "./judge-answers.js";
import { judgeContext } from "./judge-context.js";
import { judgedTasks } from "./judged-items.js";
import { writeLmEvalFiles } from "./lm-eval-files.js";
import { noteCut, noteMissing, noteOthers, noteThinking, wasCut } from "./notes.js";
import { type OpenSubject, openSubject } from "./open-subject.js";
import { type PreparedTask, requestsOf } from "./prepare.js";
import { ask, drawingOf, isAnswered, type Question, requestDigest } from "./question.js";
import { type TaskResult, taskResult } from "./results.js";
import type { RunContext } from "./run-context.js";
import type { Subject } from "./subject.js";

/** What one subject made of the tasks: for the file and for the comparison. */
export interface SubjectOutcome {
  readonly result: SubjectResult;
  readonly tasks: readonly TaskResult[];
}

/** Asks a subject everything that it has not answered yet, judges, and writes its files. */
export async function evaluateSubject(
  subject: Subject,
  prepared: readonly PreparedTask[],
  heldOut: HeldOutText,
  context: RunContext,
): Promise<SubjectOutcome> {
  const began = new Date();
  const open = subject.kind === "answers" ? undefined : await openSubject(subject, context);
  const files: ItemFile[] = [];
  try {
    // What is wrong with the text is found at once and not after hours.
    if (open !== undefined) await heldOut.prepare(open);
    const folder = join(context.options.out, subject.label);
    if (open !== undefined) await noteThinking(open, subject.label, context);
    if (context.options.restart) await rm(folder, { recursive: true, force: true });
    let groups = await openQuestions(subject, prepared, open, folder, files, context);
    let questions = groups.flatMap((group) => group.questions);
    const resumed = questions.filter(({ file, request }) => isAnswered(file.get(request.docId))).length;
    if (subject.kind === "answers") {
      const { answered, others } = await givenAnswers(subject.file, questions);
      noteMissing(subject.label, questions.length - answered.size, questions.length, context);
      noteOthers(subject.label, others, context);
      questions = questions.filter((question) => answered.has(question));
      groups = groups.map((group) => ({ ...group, questions: group.questions.filter((one) => answered.has(one)) }));
      groups = groups.filter((group) => group.questions.length > 0);
    } else await askAll(open!, subject.label, questions, context);
    await judgeAll(subject.label, questions, context);
    const tasks: TaskResult[] = [];
    for (const { prepared, questions } of groups) {
      tasks.push(taskResult(prepared, questions));
      noteCut(subject.label, questions, context);
      await questions[0]?.file.finish(questions.map(({ request }) => request));
    }
    const seconds = (Date.now() - began.getTime()) / 1000;
    const summaries = summariseGroups(tasks);
    await writeLmEvalFiles({ folder, model: open?.model.name ?? subject.label, began, seconds }, tasks, summaries);
    const judged = judgedTasks(tasks);
    const result: SubjectResult = {
      label: subject.label,
      record: open?.model.record ?? { answers: subject.kind === "answers" ? subject.file : undefined },
      seconds,
      resumed,
      tasks: tasks.map(taskReport),
      groups: summaries,
      scores: judged.map((task) => ({ name: task.name, suite: task.suite, score: scoreOf(task) })),
      averages: scoreAverages(judged),
      heldOut: open === undefined ? {} : await heldOut.measure(open),
    };
    return { result, tasks };
  } finally {
    for (const file of files) await file.close();
    await open?.close();
  }
}

interface TaskQuestions {
  readonly prepared: PreparedTask;
  readonly questions: readonly Question[];
}

async function openQuestions(
  subject: Subject,
  prepared: readonly PreparedTask[],
  open: OpenSubject | undefined,
  folder: string,
  files: ItemFile[],
  { options }: RunContext,
): Promise<TaskQuestions[]> {
  const groups: TaskQuestions[] = [];
  const identity = open?.identity ?? { answers: subject.kind === "answers" ? subject.file : undefined };
  for (const one of prepared) {
    const { task } = one;
    const form =
      open === undefined
        ? { fewshot: options.fewshot, fewshotPick: options.fewshotPick }
        : requestOptions(task, options, open.model);
    const requests = await requestsOf(one, form, options);
    const circumstances = {
      task: task.name,
      version: task.version,
      ...identity,
      ...(task.kind === "generate" ? { drawing: drawingOf(options) } : {}),
    };
    // Given answers are read anew each time: the file may have changed.
    const anew = subject.kind === "answers";
    const file = await ItemFile.open(join(folder, "items", `${task.name}.jsonl`), circumstances, anew);
    files.push(file);
    const questions = requests.map((request) => ({ task, request, file, doc: one.asked.get(request.docId)! }));
    for (const { request } of questions) file.check(request.docId, requestDigest([request]));
    groups.push({ prepared: one, questions });
  }
  return groups;
}

async function askAll(open: OpenSubject, label: string, questions: readonly Question[], context: RunContext) {
  const { options, signal, emit } = context;
  const scores = questions.some(
    ({ request, file }) => request.kind === "choice" && !isAnswered(file.get(request.docId)),
  );
  if (scores) {
    const able = await open.model.canScore(signal);
    if (!able.ok) {
      throw new ReamError(
        "LOGLIKELIHOOD_UNSUPPORTED",
        `${label} cannot tell log-likelihoods of texts: ${able.reason}`,
        {
          where: open.model.name,
          hint: "Leave out multiple-choice tasks (--tasks gen), or use a server that answers echo with logprobs, such as vLLM or ream serve.",
        },
      );
    }
  }
  for await (const progress of ask(open.model, questions, drawingOf(options), signal)) {
    emit({ type: "evaluate", model: label, ...progress });
  }
}

async function judgeAll(label: string, questions: readonly Question[], { options, signal, emit }: RunContext) {
  const judging = judgeContext(options.unsafeCode, signal);
  try {
    for await (const progress of judgeAnswers(questions, judging)) {
      emit({ type: "evaluate", model: label, ...progress });
    }
  } finally {
    await judging.close();
  }
}

function taskReport({ task, fewshot, rows, items, summary, data }: TaskResult): TaskReport {
  const protections = items
    .flatMap(({ result }) => result.verdicts ?? [])
    .flatMap(({ protection }) => protection ?? []);
  const cut = items.filter(({ result }) => wasCut(result)).length;
  const kinds = new Map(protections.map((protection) => [JSON.stringify(protection), protection]));
  return {
    name: task.name,
    version: task.version,
    suite: task.suite,
    primary: task.primary,
    fewshot,
    chat: items[0]?.request.chat ?? "none",
    items: items.length,
    rows,
    ...(cut > 0 && { cut }),
    metrics: summary.metrics,
    ...(kinds.size > 0 && { protection: [...kinds.values()] }),
    data,
  };
}
