import { ReamError } from "../../errors.js";
import { Random } from "../../random.js";
import type { StudyItems } from "../items.js";
import { averagesOfTasks, type Draws, type RedrawnScores } from "./redrawn.js";

/** What all models were asked of a task, and how they did. */
interface TaskTable {
  readonly suite: "mc" | "gen";
  /** [items, models]: sum over an item's parts. */
  readonly sums: Float64Array;
  /** [items]: number of parts. */
  readonly sizes: Float64Array;
}

/**
 * Averages of models with their items drawn again with replacement, task by task, the same ones for all models: what one
 * model owes to easy items the others owe to them too.
 * @param models for each its items; several files (seeds) of a model are averaged item by item.
 * Errors: ITEMS_DIFFER where they did not answer the same items or have no tasks of a suite.
 */
export function redrawItems(models: readonly (readonly StudyItems[])[], { seed, resamples }: Draws): RedrawnScores[] {
  const first = models[0]?.[0];
  if (first === undefined) return [];
  const names = Object.keys(first.tasks).sort();
  for (const items of models.flat()) refuseOtherItems(names, first, items);
  const tasks = names.map((name, i) => {
    const table = tableOf(name, models);
    return { suite: table.suite, scores: redrawTask(table, models.length, new Random(seed + i), resamples) };
  });
  for (const suite of ["mc", "gen"] as const) {
    if (!tasks.some((task) => task.suite === suite)) throw differ(`the items have no task of the suite ${suite}`);
  }
  return models.map((_, model) =>
    averagesOfTasks(tasks.map(({ suite, scores }) => ({ suite, score: scores[model]! }))),
  );
}

/** MC and GEN of one file of items, in per cent. NaN for a suite without tasks. */
export function averagesOfItems({ tasks }: StudyItems): Readonly<Record<"mc" | "gen", number>> {
  const average = (suite: "mc" | "gen") => {
    const means = Object.values(tasks)
      .filter((task) => task.suite === suite)
      .map(({ scores }) => {
        const parts = scores.flat();
        return (100 * parts.reduce((sum, part) => sum + part, 0)) / parts.length;
      });
    return means.reduce((sum, mean) => sum + mean, 0) / means.length;
  };
  return { mc: average("mc"), gen: average("gen") };
}

function tableOf(name: string, models: readonly (readonly StudyItems[])[]): TaskTable {
  const { suite, scores } = models[0]![0]!.tasks[name]!;
  const sums = new Float64Array(scores.length * models.length);
  models.forEach((files, model) => {
    for (const { tasks } of files) {
      tasks[name]!.scores.forEach((score, item) => {
        sums[item * models.length + model]! += [score].flat().reduce((sum, part) => sum + part, 0) / files.length;
      });
    }
  });
  return { suite, sums, sizes: Float64Array.from(scores, (score) => [score].flat().length) };
}

/** For each model the task's score in each resample, in per cent. */
function redrawTask({ sums, sizes }: TaskTable, models: number, random: Random, resamples: number): Float64Array[] {
  const scores = Array.from({ length: models }, () => new Float64Array(resamples));
  const total = new Float64Array(models);
  for (let resample = 0; resample < resamples; resample++) {
    total.fill(0);
    let size = 0;
    for (let i = 0; i < sizes.length; i++) {
      const drawn = random.below(sizes.length);
      size += sizes[drawn]!;
      for (let model = 0; model < models; model++) total[model]! += sums[drawn * models + model]!;
    }
    for (let model = 0; model < models; model++) scores[model]![resample] = (100 * total[model]!) / size;
  }
  return scores;
}

function refuseOtherItems(names: readonly string[], first: StudyItems, items: StudyItems): void {
  if (Object.keys(items.tasks).sort().join() !== names.join()) throw differ("two files of items have other tasks");
  for (const name of names) {
    const [one, other] = [first.tasks[name]!, items.tasks[name]!];
    const same =
      one.suite === other.suite &&
      one.asked === other.asked &&
      one.scores.length === other.scores.length &&
      one.scores.every((score, i) => [score].flat().length === [other.scores[i]!].flat().length);
    if (!same) throw differ(`two files of items did not ask the same of ${name}`);
  }
}

function differ(what: string): ReamError {
  return new ReamError("ITEMS_DIFFER", what, {
    hint: "Evaluate all models of a study with the same options on the same data.",
  });
}
