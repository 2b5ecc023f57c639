import { ReamError } from "../errors.js";

/** The error for numbers that no decision can be made from, and no weight be: NaN and infinity. */
export function notFinite(what: string): ReamError {
  return new ReamError("NOT_FINITE", `not all numbers are finite: ${what}`, {
    hint: "The weights are damaged, or overflow: fetch them again, or try --precision f32.",
  });
}
