import { type CompressOptions, compressOptions, type ResolvedCompressOptions } from "./options.js";
import { parseOptions } from "./parse-options.js";

/**
 * Checks the options. Where neither method nor refit is named, a compression does what measured best (docs/quality.md): `ream`,
 * and then a refit of all matrices, if it runs calibration text through layers as those before have become. A method that
 * is named is that method and nothing else, so that methods can be compared; so is a plan, which holds no refit. Errors: OPTION_INVALID.
 *
 * @param split whether others plan layers and write files
 */
export function resolveCompress(input: CompressOptions, split = false): ResolvedCompressOptions {
  const parsed = parseOptions(compressOptions, input);
  const { method, reconstruct, experts, observed, plan, sequential, calibrationTokens, dryRun } = parsed;
  const isNamed = method !== undefined || reconstruct !== undefined;
  const runsText = observed === undefined && plan === undefined && sequential !== false && !split;
  const reduces = experts !== undefined && !dryRun && calibrationTokens === "all";
  const refits = !isNamed && runsText && reduces;
  return { ...parsed, method: method ?? "ream", reconstruct: reconstruct ?? (refits ? "all" : "none") };
}
