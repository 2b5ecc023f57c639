import type { Backend } from "../../engine/backend.js";
import { relative } from "../reconstruct/refit.js";
import type { Settings } from "../settings.js";
import type { ExpertChoice } from "./choice.js";
import { keepByCoActivation } from "./co-activation.js";
import { droppedOf, highest, type KeptSize } from "./kept-sets.js";
import type { MeasuredBlock } from "./measured-block.js";
import { RefittedBlock } from "./refitted-block.js";
import { swapExperts } from "./swap.js";

/** The same block on two sets of tokens. */
export interface MeasuredSides {
  /** What sets of experts are made from. */
  readonly search: MeasuredBlock;
  /** What decides between them. */
  readonly heldOut: MeasuredBlock;
}

export interface ChoiceOptions extends KeptSize {
  readonly backend: Backend;
  readonly criterion: Settings["criterion"];
  /** Saliencies by name that `auto` compares, the method's own first. */
  readonly saliencies: ReadonlyMap<string, Float64Array>;
  /** Called between measurements; may throw to stop. */
  readonly pause: () => Promise<void>;
}

/** Experts that stay, in ascending order, and how that was decided. */
export interface KeptChoice {
  readonly kept: readonly number[];
  readonly choice: ExpertChoice;
}

/** Chooses the experts of a layer that stay by what is lost on tokens without the others. Equal ones: the first. */
export async function chooseKept(
  { search, heldOut }: MeasuredSides,
  { backend, criterion, saliencies, pause, ...size }: ChoiceOptions,
): Promise<KeptChoice> {
  const sets = new Map<string, readonly number[]>();
  if (criterion !== "co-activation") {
    for (const [name, saliency] of saliencies) sets.set(name, highest(saliency, size));
  }
  sets.set("co-activation", keepByCoActivation(search.contributionGram(), size));

  const refits = criterion === "refit-swap";
  const judge = refits ? new RefittedBlock(backend, search, heldOut) : heldOut;
  const errorOf = async (kept: readonly number[]) => {
    await pause();
    return relative(judge.lost(droppedOf(kept, size.experts)));
  };
  const errors: Record<string, number> = {};
  for (const [name, kept] of sets) errors[name] = await errorOf(kept);
  const best = [...sets.keys()].reduce((a, b) => (errors[b]! < errors[a]! ? b : a));
  const start = {
    kept: sets.get(best)!,
    choice: { criterion: best, error: errors[best]!, errors },
  };
  if (criterion !== "swap" && !refits) return start;

  const searched = refits ? new RefittedBlock(backend, ...search.halves()) : search;
  const { kept, swaps } = await swapExperts(searched, start.kept, size, pause);
  const error = await errorOf(kept);
  // What was found on some tokens has to hold on others.
  if (!(error < start.choice.error)) return { ...start, choice: { ...start.choice, swaps: 0 } };
  return { kept, choice: { ...start.choice, error, swaps } };
}
