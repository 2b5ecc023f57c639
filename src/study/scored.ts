import { ReamError } from "../errors.js";
import type { SubjectResult } from "../evaluate/run/evaluation.js";
import type { Scored } from "./results.js";

/** What a model scored, in per cent. Errors: STUDY_TASKS where there are not tasks of both suites. */
export function scoredOf({ scores, averages, tasks, label }: SubjectResult, heldOut: Scored["heldOut"]): Scored {
  const { mc, gen, avg } = averages;
  if (mc === undefined || gen === undefined || avg === undefined) {
    throw new ReamError("STUDY_TASKS", "a study needs multiple-choice tasks and tasks with written answers", {
      where: label,
      hint: "Name tasks of both suites, as mc,gen or demo.",
    });
  }
  const items = new Map(tasks.map((task) => [task.name, task.items]));
  return {
    mc: 100 * mc.mean,
    gen: 100 * gen.mean,
    avg: 100 * avg.mean,
    tasks: Object.fromEntries(
      scores.map(({ name, suite, score }) => {
        const count = items.get(name);
        const standardError = score.standardError === undefined ? undefined : 100 * score.standardError;
        return [
          name,
          {
            suite,
            score: 100 * score.mean,
            ...(standardError !== undefined && { standardError }),
            ...(count !== undefined && { items: count }),
          },
        ];
      }),
    ),
    ...(heldOut !== undefined && { heldOut }),
  };
}
