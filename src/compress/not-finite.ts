import { ReamError } from "../errors.js";
import type { RouterDescription } from "../model/description.js";

/** The error for numbers that no decision can be made from, and no weight be: NaN and infinity. */
export function notFinite(what: string): ReamError {
  return new ReamError("NOT_FINITE", `not all numbers are finite: ${what}`, {
    hint: "The weights are damaged, or overflow: fetch them again, or try --precision f32.",
  });
}

/** Arrays of statistics by what they are. */
export type Statistics = Readonly<Record<string, Float32Array | Float64Array | undefined>>;

/** Throws `NOT_FINITE` where a statistic of the experts behind a router is not a number. */
export function requireFinite(statistics: Statistics, { weight }: Pick<RouterDescription, "weight">): void {
  for (const [what, values] of Object.entries(statistics)) {
    if (values === undefined || allFinite(values)) continue;
    throw notFinite(`${what} of the block with router ${weight}`);
  }
}

/** A plain loop: a call for each number takes as long as routing does. */
function allFinite(values: Float32Array | Float64Array): boolean {
  for (let i = 0; i < values.length; i++) if (!Number.isFinite(values[i]!)) return false;
  return true;
}
