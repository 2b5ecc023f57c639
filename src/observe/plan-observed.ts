import { setImmediate as nextTurn } from "node:timers/promises";
import { Aligner } from "../compress/align.js";
import type { LayerPlan } from "../compress/plan.js";
import { needsAlignment, planLayer } from "../compress/plan-layer.js";
import type { Settings } from "../compress/settings.js";
import type { Backend } from "../engine/backend.js";
import { isMoe } from "../model/description.js";
import { MoeBlock, readMoe } from "../model/moe.js";
import type { CompressEvent } from "../pipeline/events.js";
import type { OpenedModel } from "../pipeline/open-model.js";
import type { Observation, ObservedMix } from "./observation.js";

/** What the plan of any layer is made from. */
export interface ObservedPlanning {
  readonly observation: Observation;
  readonly mix: ObservedMix;
  readonly settings: Settings;
  /** Experts that each layer keeps. */
  readonly kept: number;
  /** The model that was observed, whose weights align neurons; without it plans have no permutations. */
  readonly weights?: { readonly opened: OpenedModel; readonly backend: Backend } | undefined;
}

export interface PlanObservedOptions extends ObservedPlanning {
  /** Plans of the first layers, from an interrupted run. */
  readonly finished?: readonly LayerPlan[];
  readonly onPlan?: (plan: LayerPlan) => Promise<void>;
  readonly onLayer?: ((layer: number, plan: LayerPlan) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Plans every MoE layer from what was observed: no forward pass, and no weights where nothing is aligned. */
export async function* planObserved(options: PlanObservedOptions): AsyncGenerator<CompressEvent, LayerPlan[]> {
  const { observation, finished = [], onPlan, onLayer, signal } = options;
  const { layers } = observation.manifest;
  const plans = [...finished];
  for (const [index, layer] of layers.entries()) {
    if (index < finished.length) continue;
    const began = performance.now();
    signal?.throwIfAborted();
    const share = index / layers.length;
    yield { type: "progress", layer, layers: layers.length, phase: "plan", share, memory: process.memoryUsage.rss() };
    const plan = await planObservedLayer(options, layer, { signal });
    plans.push(plan);
    await onPlan?.(plan);
    onLayer?.(layer, plan);
    yield { type: "layer", plan, seconds: (performance.now() - began) / 1000 };
  }
  return plans;
}

/** Plans one layer from what was observed. @param onAligned told the share of the experts to be aligned that are */
export async function planObservedLayer(
  { observation, mix, settings, kept, weights }: ObservedPlanning,
  layer: number,
  { signal, onAligned }: { readonly signal?: AbortSignal | undefined; readonly onAligned?: (share: number) => void },
): Promise<LayerPlan> {
  const pause = async () => {
    signal?.throwIfAborted();
    await nextTurn();
  };
  const observed = await observation.layer(layer, mix, settings);
  let block: MoeBlock | undefined;
  const aligner = async () => {
    const { opened, backend } = weights!;
    const description = opened.model.layers[layer]!;
    if (!isMoe(description)) throw new TypeError(`layer ${layer} is not MoE`);
    const tensors = await readMoe(opened.checkpoint, description.feedForward);
    block = await MoeBlock.load(backend, description.feedForward, tensors);
    return Aligner.create({ backend, block, tensors, samples: observed.samples, settings, pause, costs: false });
  };
  try {
    const aligns = weights !== undefined && needsAlignment(settings);
    return await planLayer(observed, {
      ...{ layer, kept, settings, pause, onAligned },
      routerGroups: observation.manifest.limits.step,
      aligner: aligns ? aligner : undefined,
    });
  } finally {
    block?.dispose();
  }
}
