import { z } from "zod";
import type { OutputFolder } from "../checkpoint/output.js";
import { addShares, type Share } from "../compress/steps/step-error.js";
import { journalDamaged } from "./recorded-plans.js";
import type { LayerRequantised } from "./requantise.js";

/** A merged expert of a layer and what rounding it anew lost. */
const entrySchema = z.strictObject({
  layer: z.int().min(0),
  slot: z.int().min(0),
  lost: z.number().min(0),
  of: z.number().min(0),
});

/** As they are recorded with the file of the output that has the experts. */
export const requantisedSchema = z.array(entrySchema);
export type RequantisedEntries = z.output<typeof requantisedSchema>;

/** Errors of experts that were rounded anew. An expert that is made several times, for several tensors, counts once. */
export class RequantisedErrors {
  private readonly shares = new Map<string, { readonly layer: number; readonly slot: number; readonly share: Share }>();

  add(layer: number, slot: number, share: Share): void {
    this.shares.set(`${layer} ${slot}`, { layer, slot, share });
  }

  addAll(entries: RequantisedEntries): void {
    for (const { layer, slot, lost, of } of entries) this.add(layer, slot, { lost, of });
  }

  get entries(): RequantisedEntries {
    return [...this.shares.values()].map(({ layer, slot, share }) => ({ layer, slot, ...share }));
  }

  /** By layer, in their order. */
  get layers(): LayerRequantised[] {
    const sorted = [...this.shares.values()].sort((a, b) => a.layer - b.layer || a.slot - b.slot);
    const layers = new Map<number, LayerRequantised>();
    for (const { layer, share } of sorted) {
      const known = layers.get(layer) ?? { layer, experts: 0, error: { lost: 0, of: 0 } };
      layers.set(layer, { layer, experts: known.experts + 1, error: addShares(known.error, share) });
    }
    return [...layers.values()];
  }
}

/** What earlier runs recorded of experts that they rounded anew. Errors: JOURNAL_DAMAGED. */
export function recordedErrors(output: OutputFolder): RequantisedErrors {
  const errors = new RequantisedErrors();
  for (const entry of output.journal) {
    const requantised = entry?.requantised;
    if (requantised === undefined) continue;
    const entries = requantisedSchema.safeParse(requantised);
    if (!entries.success) throw journalDamaged(output, z.prettifyError(entries.error));
    errors.addAll(entries.data);
  }
  return errors;
}

/** Records the errors of a file's experts before the file is there: one that is there is not made again. */
export async function recordErrors(output: OutputFolder, entries: RequantisedEntries): Promise<void> {
  if (entries.length > 0) await output.append({ requantised: entries });
}
