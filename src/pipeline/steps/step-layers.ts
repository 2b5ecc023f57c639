import type { DType } from "../../checkpoint/tensor.js";
import { mergeGroup } from "../../compress/merge.js";
import { groupOf, isMerged, type Plan } from "../../compress/plan.js";
import type { Backend } from "../../engine/backend.js";
import { isMoe, type MoeLayer } from "../../model/description.js";
import type { ExpertPart } from "../../model/expert-storage.js";
import { readExpertScales } from "../../model/moe.js";
import type { CompressEvent } from "../events.js";
import type { OpenedModel } from "../open-model.js";
import type { OutputTarget } from "../output-target.js";
import { relay } from "../relay.js";
import { type LayerChange, LayerSteps, type ReducedExperts, type StepWork } from "./layer-steps.js";

export interface StepLayersOptions extends Pick<OutputTarget, "mergedDtype"> {
  readonly opened: OpenedModel;
  readonly plan: Plan;
  readonly backend: Backend;
  readonly work: StepWork;
  readonly signal?: AbortSignal | undefined;
}

/** Does steps that do not look at inputs to every layer that is not done: nothing is run, only read and written. */
export async function* stepLayers(options: StepLayersOptions): AsyncGenerator<CompressEvent, void> {
  const { opened, plan, backend, work, signal } = options;
  const { checkpoint, model } = opened;
  const layers = model.layers.length;
  for (const layer of model.layers) {
    const steps = new LayerSteps(checkpoint, backend, work, layer);
    if (!steps.changes || (await steps.done)) continue;
    const progress = (share: number): CompressEvent => ({
      ...{ type: "progress", layer: layer.index, layers, phase: "steps" },
      ...{ share: (layer.index + share) / layers, memory: process.memoryUsage.rss() },
    });
    yield progress(0);
    await steps.change(["attention", "shared", "dense"], new Map());
    const experts = isMoe(layer) ? reducedExperts(options, layer, plan) : undefined;
    const change = yield* relay<CompressEvent, LayerChange>((emit) =>
      steps.finish(experts, (done, total) => {
        signal?.throwIfAborted();
        emit(progress(done / total));
      }),
    );
    yield { type: "steps", ...change };
  }
}

/** A layer's experts by its plan, read when they are needed. */
function reducedExperts(
  { opened, backend, mergedDtype }: StepLayersOptions,
  layer: MoeLayer,
  plan: Plan,
): ReducedExperts {
  const { experts, router } = layer.feedForward;
  const own = plan.layers.find((planned) => planned.layer === layer.index)!;
  const { checkpoint, model } = opened;
  const groupOfSlot = (slot: number) => groupOf(own, own.keptExperts[slot]!);
  const stored = (expert: number, matrix: ExpertPart) => {
    // What was quantised becomes floats of the output.
    if (model.quantisation !== undefined) return mergedDtype!;
    const name = experts.matrixName(expert, matrix);
    return checkpoint.info(checkpoint.tensors.has(name) ? name : experts.names[0]!).dtype as DType;
  };
  return {
    read: async (slot) => {
      const read = (expert: number) => experts.read(checkpoint, expert, backend);
      const scales = await readExpertScales(checkpoint, router);
      return mergeGroup(backend, groupOfSlot(slot), read, { when: plan.rounding, dtype: mergedDtype, scales });
    },
    dtype: (slot, matrix) => {
      const group = groupOfSlot(slot);
      const dtype = stored(group.members[0]!, matrix);
      return isMerged(group) ? (mergedDtype ?? dtype) : dtype;
    },
    inputs: undefined,
  };
}
