import { ReamError } from "../errors.js";
import type { ResolvedCompressOptions } from "./options.js";

/** The error for options that do not go together. */
export function conflict(where: string, what: string, hint: string): ReamError {
  return new ReamError("SETTINGS_CONFLICT", what, { where, hint });
}

/** Refuses what workers do not do. @param work as "reconstruct layers" */
export function refuseSplit(split: boolean, work: string): void {
  if (split) throw conflict("--queue", `workers do not ${work} yet`, "Leave out --queue.");
}

/**
 * Refuses runs in which nobody sees calibration text pass the layers as those before have become. Errors: SETTINGS_CONFLICT.
 *
 * @param done as "layers are reconstructed"
 */
export function requireTextRun({ observed, sequential }: ResolvedCompressOptions, done: string): void {
  if (observed !== undefined) {
    throw conflict(
      "--observed",
      `${done} on calibration text, which an observation does not hold`,
      "Make the plan from the observation (--dry-run --json), then give it with --plan and calibration text.",
    );
  }
  if (sequential === false)
    throw conflict("--no-sequential", `${done} on what the layers before have become`, "Leave it out.");
}
