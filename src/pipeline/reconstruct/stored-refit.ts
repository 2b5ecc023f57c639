import type { Tensor } from "../../checkpoint/tensor.js";
import { noDomainWorse, relative } from "../../compress/reconstruct/refit.js";
import type { RefitErrors, Residuals } from "../../compress/reconstruct/residuals.js";
import type { ExpertTensors } from "../../engine/backend.js";
import type { StoredExpert } from "../../model/expert-coding.js";
import { convertExpert } from "../../model/expert-storage.js";
import type { DownExperts } from "./down-experts.js";
import type { StoreParts } from "./expert-matrices.js";
import type { LayerDescent } from "./layer-descent.js";
import { type MakeUpOptions, makeUp } from "./make-up.js";
import type { RefitExpertsOptions } from "./refit-experts.js";
import type { RefitRound } from "./refit-files.js";

/** How the kept experts of a layer of a quantised source are stored. */
export interface StoredForm {
  /** A kept expert before its refit. */
  original(slot: number): Promise<StoredExpert>;
  encode(slot: number, expert: ExpertTensors): StoredExpert;
  decode(stored: StoredExpert): ExpertTensors;
}

/** What came of a refit in the form of a quantised source. */
export interface StoredRefit {
  readonly after: RefitErrors;
  readonly rounds: readonly RefitRound[];
  /** Those that are other ones now, by their slots. */
  readonly experts: ReadonlyMap<number, StoredExpert>;
}

/**
 * Stores refitted experts in the form of a quantised source. Gates and up projections are rounded first, to nearest; then the down
 * projections are refitted to what these have become, by least squares whose every step ends with weights as they are
 * stored: later experts make up for the rounding of earlier ones. The layer is kept where it loses less of held-out outputs than
 * before its refit, and in no domain more. Else, or where gates and up projections were not refitted, these keep their bytes, and
 * the down projections of before are refitted alone.
 *
 * @param start the layer before its refit
 * @param found what the refit made of it
 * @param residuals those of `found`; used up
 */
export async function storeRefit(
  residuals: Residuals,
  start: RefitExpertsOptions,
  found: LayerDescent,
  form: StoredForm,
  fit: MakeUpOptions,
): Promise<StoredRefit> {
  const { free, dtype } = start;
  const { before } = found;
  const values = (stored: StoredExpert) => convertExpert(form.decode(stored), dtype);
  let now = { ...start, experts: found.experts };
  if (found.rounds.some(({ part }) => part !== "down")) {
    const rounded = new Map<number, StoredExpert>();
    for (const slot of free) rounded.set(slot, form.encode(slot, now.experts[slot]!));
    const experts = now.experts.map((expert, slot) => (rounded.has(slot) ? values(rounded.get(slot)!) : expert));
    const down = new StoredDown(form, rounded, experts, values);
    const to = { ...start, experts, store: down.store };
    const made = await makeUp(residuals, now, to, { ...fit, most: before, goesOn: true });
    const { after } = made;
    if (relative(after.heldOut) < relative(before.heldOut) && noDomainWorse(after, before)) {
      const round = { part: "stored", experts: free.size, heldOut: made.start.heldOut } as const;
      return { after, rounds: [...found.rounds, round, ...made.rounds], experts: down.stored(made.linear) };
    }
    now = { ...start, experts: withDown(experts, made.linear) };
  }
  const originals = new Map<number, StoredExpert>();
  for (const slot of free) originals.set(slot, await form.original(slot));
  const down = new StoredDown(form, originals, start.experts, values);
  const to = { ...start, store: down.store };
  const { kept, after, rounds, linear } = await makeUp(residuals, now, to, { ...fit, most: before, goesOn: false });
  return kept ? { after, rounds, experts: down.stored(linear) } : { after: before, rounds, experts: new Map() };
}

/** Down projections as they are stored, beside what else is stored of their experts. */
class StoredDown {
  /** To round what is rounded already may change it: what values were decoded from is remembered. */
  private readonly sources = new WeakMap<Tensor, StoredExpert>();

  constructor(
    private readonly form: StoredForm,
    private readonly rest: ReadonlyMap<number, StoredExpert>,
    private readonly experts: readonly ExpertTensors[],
    private readonly values: (stored: StoredExpert) => ExpertTensors,
  ) {}

  store: StoreParts = (slot, parts) => {
    const encoded = this.form.encode(slot, { ...this.experts[slot]!, ...parts });
    const own = new Map([...this.rest.get(slot)!, ...[...encoded].filter(([part]) => part.startsWith("down."))]);
    const { down, downBias } = this.values(own);
    this.sources.set(down, own);
    return { down, ...(downBias && { downBias }) };
  };

  /** The experts with the down projections that they have now. */
  stored({ matrices }: DownExperts): Map<number, StoredExpert> {
    return new Map(
      [...this.rest].map(([slot, rest]) => [slot, this.sources.get(matrices.parts(slot).down!) ?? rest] as const),
    );
  }
}

/** Experts with the down projections that a refit has made of theirs. */
export function withDown(experts: readonly ExpertTensors[], { matrices }: DownExperts): ExpertTensors[] {
  return experts.map((expert, slot) => ({ ...expert, ...matrices.parts(slot) }));
}
