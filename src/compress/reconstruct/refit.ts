import type { Backend } from "../../engine/backend.js";
import type { Share } from "../steps/step-error.js";
import type { LinearExperts } from "./problem.js";
import type { RefitErrors, Residuals } from "./residuals.js";
import { subtractAll, sweep } from "./sweep.js";

export interface RefitOptions {
  /** Strengths of the ridge that are tried, the strongest first, as shares of the mean diagonal. */
  readonly ridges: readonly number[];
  /** Most sweeps at one strength. */
  readonly sweeps: number;
  /** Lets others work; may throw to stop. @param done sweeps that are done, the one at work in part */
  readonly pause: (done: number) => Promise<void>;
}

/** What came of a refit. */
export interface Refit {
  /** Whether the experts have other weights than at the start. */
  readonly kept: boolean;
  /** Strength of the ridge, and sweeps up to the weights that were best on held-out tokens; where nothing is kept 0. */
  readonly ridge: number;
  readonly sweeps: number;
  readonly before: RefitErrors;
  /** Of the best weights. */
  readonly after: RefitErrors;
}

/** A sweep that lowers the held-out error by a smaller share is the last one of its strength. */
const LEAST_GAIN = 0.02;

/** Share of a domain's outputs that it may lose more than at the start, for what the others gain. */
const DOMAIN_TOLERANCE = 0.001;

/**
 * Refits the weights of a layer's experts to the outputs y that the residuals start as. From the strongest ridge to the
 * weakest, each goes on from where the one before ended, as long as the held-out error falls: the path of solutions tells
 * strength and sweeps at the cost of one of them. The experts are left with the weights of the lowest held-out error, those
 * of the start if none is better: with a lower error in all, and in no domain one that is higher than at the start by more than
 * a thousandth of the domain's outputs.
 */
export async function refit(
  backend: Backend,
  experts: LinearExperts,
  residuals: Residuals,
  { ridges, sweeps, pause }: RefitOptions,
): Promise<Refit> {
  let done = 0;
  let step = 0;
  const paused = () => pause(done + ++step / experts.count);
  await subtractAll(backend, experts, residuals, () => pause(0));
  const before = residuals.errors();
  let best = { kept: false, ridge: 0, sweeps: 0, before, after: before };
  let restore = experts.save();
  let last = relative(before.heldOut);
  for (const ridge of ridges) {
    const first = last;
    for (let own = 0; own < sweeps; own++) {
      step = 0;
      await sweep(backend, experts, residuals, ridge, paused);
      done++;
      const after = residuals.errors();
      const now = relative(after.heldOut);
      if (now < relative(best.after.heldOut) && noDomainWorse(after, before)) {
        best = { kept: true, ridge, sweeps: done, before, after };
        restore = experts.save();
      }
      const gain = 1 - now / last;
      last = now;
      if (!(gain > LEAST_GAIN)) break;
    }
    if (!(last < first)) break;
  }
  restore();
  return best;
}

/** Whether no domain lost over a thousandth of its outputs more than before. */
export function noDomainWorse(after: Pick<RefitErrors, "domains">, before: Pick<RefitErrors, "domains">): boolean {
  return Object.entries(after.domains).every(
    ([domain, share]) => relative(share) <= relative(before.domains[domain]!) + DOMAIN_TOLERANCE,
  );
}

/** The share that is lost, of nothing nothing. */
export function relative({ lost, of }: Share): number {
  return of === 0 ? 0 : lost / of;
}
