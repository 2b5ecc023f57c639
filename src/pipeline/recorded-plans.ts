import type { JournalEntry } from "../checkpoint/journal.js";
import type { OutputFolder } from "../checkpoint/output.js";
import { type LayerPlan, parseLayerPlan, plannedLayer } from "../compress/plan.js";
import { ReamError } from "../errors.js";
import { isMoe, type ModelDescription } from "../model/description.js";

/** The plans that the journal holds: those of the first MoE layers, checked. Errors: JOURNAL_DAMAGED. */
export function recordedPlans(
  output: OutputFolder,
  model: ModelDescription,
  kept: number,
  entries: readonly JournalEntry[] = planEntries(output),
): LayerPlan[] {
  const fail = (what: string): never => {
    throw journalDamaged(output, what);
  };
  const layers = model.layers.filter(isMoe);
  return entries.map((entry, i) => {
    const plan = checkRecorded(entry?.plan, model, kept, fail);
    return plan.layer === layers[i]?.index ? plan : fail(`entry ${i + 1} is of layer ${plan.layer}`);
  });
}

/** The entries of the journal that are plans: others follow them. */
export function planEntries({ journal }: OutputFolder): readonly JournalEntry[] {
  return journal.filter((entry) => entry?.requantised === undefined);
}

export function journalDamaged({ partial }: OutputFolder, what: string): ReamError {
  return new ReamError("JOURNAL_DAMAGED", `the journal of the interrupted run is damaged: ${what}`, {
    where: partial,
    hint: "Start anew with --restart.",
  });
}

/** Checks a layer's plan that a process has recorded for others. `fail` throws. */
export function checkRecorded(
  value: unknown,
  model: ModelDescription,
  kept: number,
  fail: (what: string) => never,
): LayerPlan {
  return parseLayerPlan(value, { before: model.experts, after: kept }, plannedLayer(model), fail);
}
