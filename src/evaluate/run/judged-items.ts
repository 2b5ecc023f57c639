import { sha256 } from "../../sha256.js";
import { type JudgedTask, joinGroups, judgedTask } from "../compare/judged.js";
import type { ItemOutcome, TaskResult } from "./results.js";

/** The tasks as the comparison and the averages need them: those of a group as one. */
export function judgedTasks(tasks: readonly TaskResult[]): JudgedTask[] {
  return joinGroups(tasks.map((result) => ({ task: result.task, judged: judgedItems(result) })));
}

function judgedItems({ task, items }: TaskResult): JudgedTask {
  return judgedTask(
    task,
    items.map((item) => ({
      docId: item.request.docId,
      digest: questionDigest(item),
      verdicts: item.result.verdicts ?? [],
      answer: shownAnswer(item),
    })),
  );
}

/** Of the question itself: how a model's template or an endpoint writes it may differ between models. */
function questionDigest({ doc, request }: ItemOutcome): string {
  const asked =
    request.kind === "choice" ? { choices: request.choices, gold: request.gold } : { target: request.target };
  return sha256(JSON.stringify({ doc, fewshot: request.fewshot, ...asked }));
}

/** The answer for people: the choice taken by each metric, or the texts. */
function shownAnswer({ request, result }: ItemOutcome): string {
  if (request.kind === "generate") return (result.generations ?? []).map(({ text }) => text).join("\n---\n");
  const taken = Object.values(result.verdicts?.[0]?.extracted ?? {});
  return [...new Set(taken)].join(" / ");
}
