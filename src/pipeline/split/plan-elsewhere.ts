import type { LayerPlan } from "../../compress/plan.js";
import type { CompressEvent } from "../events.js";
import { relay } from "../relay.js";
import type { PlannedLayer } from "./parts-folder.js";
import type { Split } from "./split.js";

export interface PlanElsewhereOptions {
  /** All MoE layers. */
  readonly layers: readonly number[];
  /** Plans of the first of them, from an earlier run. */
  readonly finished: readonly LayerPlan[];
  /** Told the others in the order of the layers, whatever order they are made in. */
  readonly onPlan: (plan: LayerPlan) => Promise<void>;
  readonly signal?: AbortSignal | undefined;
}

/** Has the layers planned by others, but for those that an earlier run has. Errors: those of `Split`, PART_DAMAGED. */
export function planElsewhere(
  { parts, make }: Split,
  { layers, finished, onPlan, signal }: PlanElsewhereOptions,
): AsyncGenerator<CompressEvent, LayerPlan[]> {
  return relay(async (emit) => {
    const plans = [...finished];
    const made = new Map<number, PlannedLayer>();
    const keep = async (layer: number, planned: PlannedLayer) => {
      made.set(layer, planned);
      for (let next = made.get(layers[plans.length]!); next; next = made.get(layers[plans.length]!)) {
        await onPlan(next.plan);
        plans.push(next.plan);
        emit({ type: "layer", ...next });
      }
    };
    const missing: number[] = [];
    for (const layer of layers.slice(finished.length)) {
      const planned = await parts.readPlan(layer);
      if (planned === undefined) missing.push(layer);
      else await keep(layer, planned);
    }
    const wanted = missing.map((layer) => ({ kind: "layer" as const, layer }));
    await make(wanted, async ({ layer }) => keep(layer, await parts.awaitPlan(layer, signal)));
    return plans;
  });
}
