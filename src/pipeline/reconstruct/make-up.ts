import { type RefitOptions, refit } from "../../compress/reconstruct/refit.js";
import type { RefitErrors, Residuals } from "../../compress/reconstruct/residuals.js";
import { addBack, subtractAll } from "../../compress/reconstruct/sweep.js";
import { DownExperts } from "./down-experts.js";
import type { RefitExpertsOptions } from "./refit-experts.js";
import type { RefitRound } from "./refit-files.js";

export type MakeUpOptions = Pick<RefitOptions, "ridges" | "first" | "onTheWay" | "sweeps" | "pause">;

/** What came of it. */
export interface MadeUp {
  readonly linear: DownExperts;
  readonly kept: boolean;
  /** Errors with the down projections of before, and with those that come of it. */
  readonly start: RefitErrors;
  readonly after: RefitErrors;
  /** The refit, where it is kept. */
  readonly rounds: readonly RefitRound[];
}

/**
 * Refits down projections, by least squares, to what gates and up projections have become for another reason than a refit.
 *
 * @param residuals those of the experts of `from`; with `goesOn` left as those of what comes of it, else used up
 * @param from the layer before that change, and `to` after it
 * @param most what no domain may lose more than; undefined: with the down projections of before
 */
export async function makeUp(
  residuals: Residuals,
  from: RefitExpertsOptions,
  to: RefitExpertsOptions,
  { most, ...fit }: MakeUpOptions & { readonly most?: RefitErrors; readonly goesOn: boolean },
): Promise<MadeUp> {
  const { backend, free } = to;
  const pause = () => fit.pause(0);
  await addBack(backend, new DownExperts({ ...from, keptBytes: 0 }), residuals, pause, free);
  const linear = new DownExperts(to);
  await subtractAll(backend, linear, residuals, pause, free);
  const start = residuals.errors();
  const { kept, ridge, sweeps, after } = await refit(backend, linear, residuals, { ...fit, most: most ?? start });
  const rounds: RefitRound[] = kept ? [{ part: "down", ridge, sweeps, heldOut: after.heldOut }] : [];
  return { linear, kept, start, after, rounds };
}
