import { setImmediate as nextTurn } from "node:timers/promises";
import { Aligner } from "../../compress/align.js";
import { type LayerObservation, LayerObserver } from "../../compress/observer.js";
import type { LayerPlan } from "../../compress/plan.js";
import { planLayer } from "../../compress/plan-layer.js";
import { samplingError } from "../../compress/sampling-error.js";
import { changedShare, snapshot } from "../../compress/stability.js";
import { LayerTrace } from "../../compress/trace.js";
import type { MoeBlock, MoeTensors } from "../../model/moe.js";
import type { CompressEvent } from "../events.js";
import { layerChooser } from "../layer-chooser.js";
import { batchCount, layerSamples, meanSample } from "../layer-samples.js";
import type { LayerTargets } from "../reconstruct/layer-targets.js";
import type { LayerWork } from "./layer-work.js";

/** What is told the original block's outputs while it is there. */
export type OutputWatcher = Pick<LayerTargets, "uses" | "observe">;

/** Runs the original block on a batch, of hidden states after the mixer, for those who look at its outputs. */
export function observeOnly(
  { moeInput }: LayerWork,
  block: MoeBlock,
  index: number,
  mixed: Float32Array,
  watching: readonly OutputWatcher[],
): void {
  const looking = watching.filter((one) => one.uses(index));
  if (looking.length === 0) return;
  const { output } = block.run(moeInput(mixed));
  for (const one of looking) one.observe(index, mixed, output);
}

/**
 * Runs the original layer on every batch and plans its experts. Leaves the hidden states after attention (sequential), or
 * after the whole original layer.
 */
export async function* observeAndPlan(
  work: LayerWork,
  block: MoeBlock,
  tensors: MoeTensors,
  watching: readonly OutputWatcher[],
): AsyncGenerator<CompressEvent, LayerPlan> {
  const { options, layer, hidden, pause } = work;
  const { backend, settings, batches, kept, onTrace } = options;
  const { index: number } = work.description;
  const samples = await layerSamples(options, number);
  const means = meanSample(options, number, block);
  const observer = new LayerObserver(backend, block, settings, batchCount(options), samples, means);
  const chooser = layerChooser(options, block);
  const halfway = options.onHalf && Math.floor(batches.length / 2);
  let half: LayerObservation | undefined;
  yield* work.eachBatch("observe", async (batch, index) => {
    if (index === halfway && index > 0) half = snapshot(await observer.finish(tensors));
    const mixed = layer.mix(hidden.get(index), batch);
    if (index >= batches.length) {
      hidden.set(index, mixed);
      observeOnly(work, block, index, mixed, watching);
      return;
    }
    const x = layer.feedForwardInput(mixed);
    const input = layer.moeInput(x);
    const routed = block.run(input, (router) => means?.routedSums(router, batch.mask));
    observer.add(index, input.experts, routed, batches[index]!);
    chooser?.observe(index, mixed, input, routed.router);
    for (const one of watching) one.observe(index, mixed, routed.output);
    const after = settings.sequential ? mixed : layer.finish(mixed, x, layer.feedForward(x, routed.output));
    hidden.set(index, after);
  });
  yield work.progress("plan");
  await nextTurn();
  const trace = onTrace && new LayerTrace(number, block.experts.count, settings);
  const observed = await observer.finish(tensors);
  const routerGroups = block.description.router.groups?.count ?? 1;
  const chosen = await chooser?.choose(observer, observed, pause);
  const how = { layer: number, kept, settings, pause, routerGroups };
  const plan = await planLayer(observed, {
    ...how,
    ...{ trace, chosen },
    aligner: () => {
      const { samples } = observed;
      return Aligner.create({ backend, block, tensors, samples, settings, pause, costs: trace !== undefined });
    },
  });
  if (trace !== undefined) onTrace?.(trace);
  options.onHalf?.(half === undefined ? 1 : await changedShare(half, plan, how));
  if (observed.sampled !== undefined) {
    const inputs = { experts: block.experts.count, gateGram: observed.gateGram };
    const error = samplingError(inputs, observed.sampled, settings, plan.groups, routerGroups);
    yield { type: "sampling", layer: number, ...error };
  }
  return plan;
}
