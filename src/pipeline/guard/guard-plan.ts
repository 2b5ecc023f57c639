import { pickSettings, resolveSettings } from "../../compress/settings.js";
import { ReamError } from "../../errors.js";
import type { ResolvedCompressOptions } from "../options.js";

/** How merges are guarded. */
export interface GuardPlan {
  readonly seed: number;
}

/** The guard of `--guard`; undefined where none is asked for. Errors: SETTINGS_CONFLICT. */
export function planGuard(options: ResolvedCompressOptions, split: boolean): GuardPlan | undefined {
  if (!options.guard) return undefined;
  const { merging } = resolveSettings(options.method, pickSettings(options));
  const conflict = (where: string, what: string, hint: string): never => {
    throw new ReamError("SETTINGS_CONFLICT", what, { where, hint });
  };
  if (split) conflict("--queue", "workers do not guard merges yet", "Leave out --queue.");
  if (options.plan !== undefined) {
    conflict("--plan", "a plan that is given says itself what is merged", "Guard the merges when the plan is made.");
  }
  if (options.experts === undefined || merging === "none") {
    conflict("--guard", "there are no merges to guard", "Use it with a method that merges, such as ream.");
  }
  if (options.observed !== undefined) {
    conflict(
      "--observed",
      "merges are judged on calibration text, which an observation does not hold",
      "Leave out --observed and give the text.",
    );
  }
  if (options.sequential === false) {
    conflict("--no-sequential", "merges are judged on what the layers before have become", "Leave it out.");
  }
  return { seed: options.seed };
}
