import { type RefitOptions, refit } from "../../compress/reconstruct/refit.js";
import type { RefitErrors, Residuals } from "../../compress/reconstruct/residuals.js";
import { addBack, subtractAll } from "../../compress/reconstruct/sweep.js";
import { DownExperts } from "./down-experts.js";
import type { RefitExpertsOptions } from "./refit-experts.js";
import type { RefitRound } from "./refit-files.js";

export type MakeUpOptions = Pick<RefitOptions, "ridges" | "first" | "onTheWay" | "sweeps" | "pause">;

/**
 * Refits down projections, by least squares, to what gates and up projections have become for another reason than a refit.
 *
 * @param residuals those of the experts of `from`; used up, or of a layer that is stored left as those of what comes of it
 * @param from the layer before that change, and `to` after it
 * @param why they changed
 * @param most what no domain may lose more than
 */
export async function makeUp(
  residuals: Residuals,
  from: RefitExpertsOptions,
  to: RefitExpertsOptions,
  why: "stored" | "then",
  most: RefitErrors | undefined,
  fit: MakeUpOptions,
) {
  const { backend, free } = to;
  const pause = () => fit.pause(0);
  await addBack(backend, new DownExperts(from), residuals, pause, free);
  const linear = new DownExperts(to);
  await subtractAll(backend, linear, residuals, pause, free);
  const start = residuals.errors();
  const rounds: RefitRound[] = [{ part: why, experts: free.size, heldOut: start.heldOut }];
  const found = await refit(backend, linear, residuals, { ...fit, most: most ?? start, goesOn: why === "stored" });
  const { kept, ridge, sweeps, after } = found;
  if (kept) rounds.push({ part: "down", ridge, sweeps, heldOut: after.heldOut });
  return { linear, kept, after, rounds };
}
