import type { Tensor } from "../../checkpoint/tensor.js";
import { noDomainWorse, relative } from "../../compress/reconstruct/refit.js";
import type { RefitErrors, Residuals } from "../../compress/reconstruct/residuals.js";
import type { ExpertTensors } from "../../engine/backend.js";
import type { StoredExpert } from "../../model/expert-coding.js";
import { convertExpert } from "../../model/expert-storage.js";
import type { StoreParts } from "./expert-matrices.js";
import { type MakeUpOptions, makeUp } from "./make-up.js";
import type { RefitExpertsOptions } from "./refit-experts.js";
import type { RefitRound } from "./refit-files.js";

/** How the experts of a layer of a quantised source are stored. */
export interface StoredForm {
  encode(slot: number, expert: ExpertTensors): StoredExpert;
  decode(stored: StoredExpert): ExpertTensors;
}

/** What came of refitted experts in the form of a quantised source. */
export interface StoredRefit {
  readonly after: RefitErrors;
  readonly rounds: readonly RefitRound[];
  /** By their slots; none where the layer loses no less for it than before its refit. */
  readonly experts: ReadonlyMap<number, StoredExpert>;
}

/**
 * Stores refitted experts in the form of a quantised source. Gates and up projections are rounded first, to nearest; then the down
 * projections are refitted to what these have become, by least squares whose every step ends with weights as they are
 * stored: later experts make up for the rounding of earlier ones. The layer is kept where it loses less of held-out outputs than
 * before its refit, and in no domain more.
 *
 * @param residuals those of the refitted experts; used up
 * @param before errors of the layer before its refit
 */
export async function storeRefit(
  residuals: Residuals,
  options: RefitExpertsOptions,
  form: StoredForm,
  before: RefitErrors,
  fit: MakeUpOptions,
): Promise<StoredRefit> {
  const { free, dtype } = options;
  const values = (own: StoredExpert) => convertExpert(form.decode(own), dtype);
  const stored = new Map<number, StoredExpert>();
  for (const slot of free) stored.set(slot, form.encode(slot, options.experts[slot]!));
  const experts = options.experts.map((expert, slot) => {
    const own = stored.get(slot);
    return own === undefined ? expert : values(own);
  });
  // To round what is rounded already may change it: what values were decoded from is remembered.
  const sources = new WeakMap<Tensor, StoredExpert>();
  const store: StoreParts = (slot, parts) => {
    const encoded = form.encode(slot, { ...experts[slot]!, ...parts });
    const own = new Map([...stored.get(slot)!, ...[...encoded].filter(([part]) => part.startsWith("down."))]);
    const { down, downBias } = values(own);
    sources.set(down, own);
    return { down, ...(downBias && { downBias }) };
  };
  const made = { ...options, experts, store };
  const { linear, rounded, kept, after, rounds } = await makeUp(residuals, options, made, "stored", before, fit);
  if (kept) {
    for (const slot of free) stored.set(slot, sources.get(linear.matrices.parts(slot).down!) ?? stored.get(slot)!);
  }
  const last = kept ? after : rounded;
  const isBetter = relative(last.heldOut) < relative(before.heldOut) && noDomainWorse(last, before);
  return isBetter ? { after: last, rounds, experts: stored } : { after: before, rounds: [], experts: new Map() };
}
