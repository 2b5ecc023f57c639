import { pickSettings, resolveSettings } from "../../compress/settings.js";
import type { ResolvedCompressOptions } from "../options.js";
import { conflict, refuseSplit, requireTextRun } from "../text-run.js";

/** How merges are guarded. */
export interface GuardPlan {
  readonly seed: number;
}

/** The guard of `--guard`; undefined where none is asked for. Errors: SETTINGS_CONFLICT. */
export function planGuard(options: ResolvedCompressOptions, split: boolean): GuardPlan | undefined {
  if (!options.guard) return undefined;
  const { merging } = resolveSettings(options.method, pickSettings(options));
  refuseSplit(split, "guard merges");
  if (options.plan !== undefined)
    throw conflict(
      "--plan",
      "a plan that is given says itself what is merged",
      "Guard the merges when the plan is made.",
    );
  if (options.experts === undefined || merging === "none")
    throw conflict("--guard", "there are no merges to guard", "Use it with a method that merges, such as ream.");
  requireTextRun(options, "merges are judged");
  return { seed: options.seed };
}
