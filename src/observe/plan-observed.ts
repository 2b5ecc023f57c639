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

export interface PlanObservedOptions {
  readonly observation: Observation;
  readonly mix: ObservedMix;
  readonly settings: Settings;
  /** Experts that each layer keeps. */
  readonly kept: number;
  /** The model that was observed, whose weights align neurons; without it plans have no permutations. */
  readonly weights?: { readonly opened: OpenedModel; readonly backend: Backend } | undefined;
  /** Plans of the first layers, from an interrupted run. */
  readonly finished?: readonly LayerPlan[];
  readonly onPlan?: (plan: LayerPlan) => Promise<void>;
  readonly signal?: AbortSignal | undefined;
}

/** Plans every MoE layer from what was observed: no forward pass, and no weights where nothing is aligned. */
export async function* planObserved(options: PlanObservedOptions): AsyncGenerator<CompressEvent, LayerPlan[]> {
  const { observation, mix, settings, kept, finished = [], onPlan, signal } = options;
  const { layers, limits } = observation.manifest;
  const plans = [...finished];
  for (const [index, layer] of layers.entries()) {
    if (index < finished.length) continue;
    const began = performance.now();
    signal?.throwIfAborted();
    const share = index / layers.length;
    yield { type: "progress", layer, layers: layers.length, phase: "plan", share, memory: process.memoryUsage.rss() };
    const pause = async () => {
      signal?.throwIfAborted();
      await nextTurn();
    };
    const observed = await observation.layer(layer, mix, settings);
    let block: MoeBlock | undefined;
    const aligner = async () => {
      const { opened, backend } = options.weights!;
      const description = opened.model.layers[layer]!;
      if (!isMoe(description)) throw new TypeError(`layer ${layer} is not MoE`);
      const tensors = await readMoe(opened.checkpoint, description.feedForward);
      block = new MoeBlock(backend, description.feedForward, tensors);
      return Aligner.create(backend, block, tensors, observed.samples, settings, pause);
    };
    try {
      const aligns = options.weights !== undefined && needsAlignment(settings);
      const plan = await planLayer(observed, {
        ...{ layer, kept, settings, pause },
        routerGroups: limits.step,
        aligner: aligns ? aligner : undefined,
      });
      plans.push(plan);
      await onPlan?.(plan);
      yield { type: "layer", plan, seconds: (performance.now() - began) / 1000 };
    } finally {
      block?.dispose();
    }
  }
  return plans;
}
