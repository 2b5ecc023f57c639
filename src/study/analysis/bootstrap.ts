import { ReamError } from "../../errors.js";
import type { ItemsOfStudy } from "../items.js";
import type { StudyResults } from "../results.js";
import { meanScores, type Point } from "./points.js";
import { redrawErrors } from "./redraw-errors.js";
import { averagesOfItems, redrawItems } from "./redraw-items.js";
import type { Draws, RedrawnScores } from "./redrawn.js";

/** The averages of points in resamples. */
export interface Redrawn {
  /** `items`: the same items drawn again for all. `standard errors`: normal and independent, as far as those tell. */
  readonly from: "items" | "standard errors";
  /** One for each point. */
  readonly points: readonly RedrawnScores[];
  readonly original: RedrawnScores | undefined;
}

/**
 * Draws the averages of points, and of the original where it can be done in the same way. From items where all points have
 * them, else from the standard errors of their tasks; undefined where those are not known either.
 * Errors: ITEMS_DIFFER.
 */
export function redraw(
  points: readonly Point[],
  { original }: StudyResults,
  items: ItemsOfStudy | undefined,
  draws: Draws,
): Redrawn | undefined {
  const files = points.map(({ rows }) => rows.flatMap((row) => items?.rows[row] ?? []));
  if (points.every(({ rows }, i) => files[i]!.length === rows.length)) {
    const scores = redrawItems(items?.original ? [...files, [items.original]] : files, draws);
    return { from: "items", points: scores.slice(0, points.length), original: scores[points.length] };
  }
  const scores = redrawErrors(points, draws);
  if (scores === undefined) return undefined;
  // A seed of its own: the original must not repeat a point's draws.
  const own = original && redrawErrors([meanScores([original])], { ...draws, seed: draws.seed + points.length });
  return { from: "standard errors", points: scores, original: own?.[0] };
}

/** Errors: ITEMS_DIFFER where the items of a row do not give its MC or GEN. */
export function refuseOtherScores(results: StudyResults, { original, rows }: ItemsOfStudy): void {
  const entries = [
    { where: "original", scored: results.original, items: original },
    ...results.rows.map((scored, i) => ({ where: `rows[${i}]`, scored, items: rows[i] })),
  ];
  for (const { where, scored, items } of entries) {
    if (scored === undefined || items === undefined) continue;
    const found = averagesOfItems(items);
    for (const suite of ["mc", "gen"] as const) {
      // Results may be rounded to one digit.
      if (Math.abs(found[suite] - scored[suite]) <= 0.05 + 1e-9) continue;
      throw new ReamError("ITEMS_DIFFER", `${suite} is ${scored[suite]}, but ${found[suite].toFixed(2)} by its items`, {
        where,
        hint: "The file of items belongs to another run, or lacks tasks.",
      });
    }
  }
}
