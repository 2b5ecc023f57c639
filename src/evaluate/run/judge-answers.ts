import { availableParallelism } from "node:os";
import { ReamError } from "../../errors.js";
import { sha256 } from "../../sha256.js";
import { VERSION } from "../../version.js";
import { canonicalJson } from "../data/canonical.js";
import type { JudgeContext, Verdict } from "../judge.js";
import { answerOf, opensThinking } from "../judges/thinking.js";
import { judgeChoice } from "../metrics/multiple-choice.js";
import type { ItemResult } from "./item-file.js";
import type { Question } from "./question.js";

/** Verdicts on all answers that have none yet, or one of another judge or row, several at a time, because running code is mostly waiting. */
export async function* judgeAnswers(
  questions: readonly Question[],
  context: JudgeContext,
): AsyncGenerator<{ readonly phase: "judge"; readonly done: number; readonly total: number }> {
  const open = questions.filter((question) => {
    const result = question.file.get(question.request.docId);
    return result !== undefined && (result.verdicts === undefined || result.judged !== judgedBy(question));
  });
  const waiting = open[Symbol.iterator]();
  const running = new Map<Question, Promise<Question>>();
  const begin = (question: Question) => {
    running.set(
      question,
      judgeOne(question, context).then(() => question),
    );
  };
  let done = 0;
  try {
    while (done < open.length) {
      while (running.size < availableParallelism()) {
        const next = waiting.next();
        if (next.done) break;
        begin(next.value);
      }
      running.delete(await Promise.race(running.values()));
      yield { phase: "judge", done: ++done, total: open.length };
    }
  } finally {
    await Promise.allSettled(running.values());
  }
}

async function judgeOne(question: Question, context: JudgeContext): Promise<void> {
  const { file, request } = question;
  context.signal.throwIfAborted();
  try {
    const verdicts = await verdictsOn(question, file.get(request.docId)!, context);
    await file.add(request.docId, { verdicts, judged: judgedBy(question) });
  } catch (error) {
    throw ofItem(error, question);
  }
}

/** Digest of what a verdict depends on besides the answer: the judge, as this version has it, and the row. */
function judgedBy({ task, doc, request }: Question): string {
  const judge =
    task.kind === "choice"
      ? { metrics: task.metrics }
      : { name: task.judge.name, options: task.judge.options, metrics: task.judge.metrics };
  const right = request.kind === "choice" ? [request.gold, request.choices] : request.target;
  return sha256(canonicalJson({ version: VERSION, judge, doc, right }));
}

/** Failures that lie in a row or an answer: the others can do without it. */
const OF_ONE_ITEM = /^(CHECK_INVALID|CHOICES_DIFFER|REGEX_TOO_SLOW|TARGET_NOT_NUMBER)$/;

function ofItem(error: unknown, { request: { task, docId } }: Question): unknown {
  if (!(error instanceof ReamError) || !OF_ONE_ITEM.test(error.code)) return error;
  const { code, message, where, hint } = error;
  return new ReamError(code, `item ${docId} of ${task} cannot be judged: ${message}`, {
    ...(where !== undefined && { where }),
    hint: `${hint === undefined ? "" : `${hint} `}With --leave-out ${task}:${docId} it goes on without the item.`,
    cause: error,
  });
}

/** One verdict for each answer; one for all log-likelihoods of a choice. */
export async function verdictsOn(
  { task, request, doc }: Omit<Question, "file">,
  { scored, generations }: ItemResult,
  context: JudgeContext,
): Promise<Verdict[]> {
  if (task.kind === "choice" && request.kind === "choice") {
    const logLikelihoods = scored!.map(({ logLikelihood }) => logLikelihood);
    return [judgeChoice(request, logLikelihoods, task.metrics)];
  }
  if (task.kind !== "generate" || request.kind !== "generate") throw new TypeError(`${task.name} is of another kind`);
  const opened = opensThinking(request.context ?? "");
  const verdicts: Verdict[] = [];
  for (const { text } of generations!) {
    const { answer, unclosed } = answerOf(text, opened);
    const verdict = await task.judge.judge({ answer, doc, target: request.target }, context);
    verdicts.push(unclosed ? { ...verdict, reason: "the thinking did not end" } : verdict);
  }
  return verdicts;
}
