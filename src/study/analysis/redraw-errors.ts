import { Random } from "../../random.js";
import { mean, type ScoresOfPoint } from "./points.js";
import type { Draws, RedrawnScores } from "./redrawn.js";

/**
 * Averages of models drawn from normal distributions around what they scored, as wide as their tasks' standard errors say:
 * for results without the scores of items. Models are drawn independently. They answered the same items, so what is
 * common to two of them does not cancel, and differences look less certain than they are.
 * @returns undefined where a model's standard errors do not explain its averages.
 */
export function redrawErrors(
  models: readonly Pick<ScoresOfPoint, "mc" | "gen" | "tasks">[],
  { seed, resamples }: Draws,
): RedrawnScores[] | undefined {
  const redrawn: RedrawnScores[] = [];
  for (const [i, model] of models.entries()) {
    const errors = { mc: errorOf(model, "mc"), gen: errorOf(model, "gen") };
    if (errors.mc === undefined || errors.gen === undefined) return undefined;
    const random = new Random(seed + i);
    const draw = (value: number, error: number) =>
      Float64Array.from({ length: resamples }, () => value + error * random.normal());
    const [mc, gen] = [draw(model.mc, errors.mc), draw(model.gen, errors.gen)];
    redrawn.push({ mc, gen, avg: mc.map((value, resample) => (value + gen[resample]!) / 2) });
  }
  return redrawn;
}

/** √(Σ s²) / k over the k tasks of a suite. Undefined where one has none, or their mean is not the model's average. */
function errorOf(model: Pick<ScoresOfPoint, "mc" | "gen" | "tasks">, suite: "mc" | "gen"): number | undefined {
  const tasks = Object.values(model.tasks);
  const own = tasks.filter((task) => task.suite === suite);
  if (own.length === 0 || tasks.some((task) => task.suite === undefined)) return undefined;
  // Scores may be rounded to one digit, each by itself.
  if (Math.abs(mean(own.map(({ score }) => score)) - model[suite]) > 0.1 + 1e-9) return undefined;
  let squares = 0;
  for (const { standardError } of own) squares += (standardError ?? Number.NaN) ** 2;
  return Number.isNaN(squares) ? undefined : Math.sqrt(squares) / own.length;
}
