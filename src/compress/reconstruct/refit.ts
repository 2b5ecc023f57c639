import type { Backend } from "../../engine/backend.js";
import type { Share } from "../steps/step-error.js";
import { Kept } from "./kept.js";
import type { LinearExperts } from "./problem.js";
import type { RefitErrors, Residuals } from "./residuals.js";
import { putBack, sweep } from "./sweep.js";

export interface RefitOptions {
  /** Strengths of the ridge that are tried, the strongest first, as shares of the mean diagonal. */
  readonly ridges: readonly number[];
  /** Which of them is tried first: stronger ones where it makes nothing better, else weaker ones. */
  readonly first: number;
  /** Most sweeps at a strength that a weaker one follows. */
  readonly onTheWay: number;
  /** Most sweeps at the weakest one. */
  readonly sweeps: number;
  /** What no domain may lose more than. */
  readonly most: RefitErrors;
  /** Whether the residuals are left as those of the weights that are kept, for what comes after. */
  readonly goesOn: boolean;
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

/** Share of a domain's outputs that it may lose more than before, for what the others gain. */
const DOMAIN_TOLERANCE = 0.001;

/**
 * Refits the weights of a layer's experts to what is left of the outputs y, the residuals of the experts as they are
 * (`subtractAll`). From the first ridge to weaker ones, each goes on from where the one before ended, as long as the
 * held-out error falls: the path of solutions tells strength and sweeps at the cost of one of them. Where the first one makes
 * nothing better, stronger ones are tried from the start. The experts are left with
 * the weights of the lowest held-out error, those of the start if none is better: with a lower error in all, and in no
 * domain one that is higher than in `most` by more than a thousandth of the domain's outputs.
 */
export async function refit(
  backend: Backend,
  experts: LinearExperts,
  residuals: Residuals,
  { ridges, first, onTheWay, sweeps, most: bound, goesOn, pause }: RefitOptions,
): Promise<Refit> {
  const kept = new Kept();
  let done = 0;
  let step = 0;
  const paused = () => pause(done + ++step / experts.count);
  const before = residuals.errors();
  let best = { kept: false, ridge: 0, sweeps: 0, before, after: before };
  let restore = experts.save();
  let last = relative(before.heldOut);
  for (let at = first; at >= 0 && at < ridges.length; ) {
    const ridge = ridges[at]!;
    const began = last;
    const most = at + 1 < ridges.length ? onTheWay : sweeps;
    for (let own = 0; own < most; own++) {
      step = 0;
      await sweep(backend, experts, residuals, ridge, paused, kept);
      done++;
      const after = residuals.errors();
      const now = relative(after.heldOut);
      if (now < relative(best.after.heldOut) && noDomainWorse(after, bound)) {
        best = { kept: true, ridge, sweeps: done, before, after };
        restore = experts.save();
      }
      const gain = 1 - now / last;
      last = now;
      if (!(gain > LEAST_GAIN)) break;
    }
    if (best.kept) {
      if (!(last < began)) break;
      at++;
    } else {
      await putBack(backend, experts, residuals, restore, () => pause(done));
      last = relative(before.heldOut);
      at--;
    }
  }
  if (!best.kept || best.sweeps === done) return best;
  if (goesOn) await putBack(backend, experts, residuals, restore, () => pause(done));
  else for (let expert = 0; expert < experts.count; expert++) restore(expert);
  return best;
}

/** Whether no domain loses more than in `most`, but for a thousandth of its outputs. */
export function noDomainWorse(after: Pick<RefitErrors, "domains">, most: Pick<RefitErrors, "domains">): boolean {
  return Object.entries(after.domains).every(
    ([domain, share]) => relative(share) <= relative(most.domains[domain]!) + DOMAIN_TOLERANCE,
  );
}

/** The share that is lost, of nothing nothing. */
export function relative({ lost, of }: Share): number {
  return of === 0 ? 0 : lost / of;
}
