import { ReamError } from "../../errors.js";
import { AVERAGES } from "../results.js";
import { type Point, scoreNamed } from "./points.js";

/** Lowest values that are accepted, in per cent, by average (mc, gen, avg) or task. */
export type Floors = Readonly<Record<string, number>>;

/**
 * Index of the point with the highest `goal` (mc, gen, avg or a task) of those that reach all floors: "the best GEN with
 * MC of 65 or more". Of equal ones that with the higher AVG, then the first. Undefined where none reaches them; a point
 * without one of the tasks does not.
 * Errors: SCORE_UNKNOWN where no point has a score of a name.
 */
export function bestUnder(
  points: readonly Pick<Point, "mc" | "gen" | "avg" | "tasks">[],
  goal: string,
  floors: Floors = {},
): number | undefined {
  for (const name of [goal, ...Object.keys(floors)]) {
    if (points.length > 0 && points.every((point) => scoreNamed(point, name) === undefined))
      throw unknown(name, points);
  }
  let best: number | undefined;
  points.forEach((point, i) => {
    const score = scoreNamed(point, goal);
    const reached = Object.entries(floors).every(([name, floor]) => (scoreNamed(point, name) ?? Number.NaN) >= floor);
    if (score === undefined || !reached) return;
    const before = best === undefined ? undefined : points[best]!;
    const highest = before === undefined ? Number.NEGATIVE_INFINITY : scoreNamed(before, goal)!;
    if (score > highest || (score === highest && point.avg > before!.avg)) best = i;
  });
  return best;
}

function unknown(name: string, points: readonly Pick<Point, "tasks">[]): ReamError {
  const names = [...AVERAGES, ...new Set(points.flatMap(({ tasks }) => Object.keys(tasks)))];
  return new ReamError("SCORE_UNKNOWN", `the study has no score ${JSON.stringify(name)}`, {
    hint: `It has ${names.join(", ")}.`,
  });
}
