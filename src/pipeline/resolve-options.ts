import type { OpenedModel } from "./open-model.js";
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
  const refitsByDefault = !isNamed && runsText && reduces;
  return {
    ...parsed,
    ...{ method: method ?? "ream", reconstruct: reconstruct ?? (refitsByDefault ? "all" : "none"), refitsByDefault },
  };
}

/**
 * Leaves out a refit that nobody asked for where weights go back to the form of a quantised source, which refits do not know
 * of.
 */
export function withoutVainRefit(
  options: ResolvedCompressOptions,
  { model }: Pick<OpenedModel, "model">,
): ResolvedCompressOptions {
  const { refitsByDefault, outputDtype } = options;
  const isVain = refitsByDefault && model.quantisation !== undefined && outputDtype === "same";
  return isVain ? { ...options, reconstruct: "none", refitsByDefault: false } : options;
}
