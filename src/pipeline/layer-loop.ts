import type { Checkpoint } from "../checkpoint/checkpoint.js";
import type { DType } from "../checkpoint/tensor.js";
import type { LayerPlan } from "../compress/plan.js";
import type { Settings } from "../compress/settings.js";
import type { LayerTrace } from "../compress/trace.js";
import type { Backend } from "../engine/backend.js";
import {
  isMoe,
  type LayerDescription,
  type ModelDescription,
  type PredictionDescription,
} from "../model/description.js";
import { embedBatches } from "../model/embedding-rows.js";
import { openStates } from "../model/hidden-states.js";
import type { TokenBatch } from "../model/layer.js";
import { normStates, predictionInput } from "../model/prediction.js";
import type { CompressEvent } from "./events.js";
import type { GuardPlan } from "./guard/guard-plan.js";
import { LayerRun } from "./layer/layer-run.js";
import { ReadAhead } from "./read-ahead.js";
import type { RefitWork } from "./reconstruct/open-refit.js";
import type { RecordedSamples } from "./recorded-samples.js";
import type { RouterWork } from "./router/open-router.js";
import type { StepWork } from "./steps/layer-steps.js";
import { steppedWeights } from "./steps/step-plan.js";

export interface LayerLoopOptions {
  readonly checkpoint: Checkpoint;
  readonly model: ModelDescription;
  /** The last layers of the model, if they are for multi-token prediction. */
  readonly predictions?: readonly PredictionDescription[];
  readonly backend: Backend;
  readonly settings: Settings;
  readonly batches: readonly TokenBatch[];
  /** Tokens that refits look at besides, and nobody else; they go through the layers after the others. */
  readonly random?: readonly TokenBatch[] | undefined;
  /** Where hidden states are kept that are more than the memory holds; undefined: in memory. */
  readonly statesFile?: string | undefined;
  /** Experts that each layer keeps. */
  readonly kept: number;
  readonly seed: number;
  /** Dtype of merged experts when later layers see them; undefined: as stored. */
  readonly mergedDtype: DType | undefined;
  /** Whether merged experts are rounded to the form of a quantised source again, as later layers see them. */
  readonly requantises?: boolean;
  /** Plans of the first layers, from an interrupted run, or of all layers, where they were given. */
  readonly finished: readonly LayerPlan[];
  /** What is done to the matrices of each layer after its experts have been reduced, before the next one sees it. */
  readonly steps?: StepWork | undefined;
  /** How kept experts are refitted, before the steps. */
  readonly refit?: RefitWork | undefined;
  /** How routers are fitted, before all that. */
  readonly router?: RouterWork | undefined;
  /** Undoes merges of new plans that held-out tokens speak against. */
  readonly guard?: GuardPlan | undefined;
  readonly recorded?: ((layer: number) => Promise<RecordedSamples>) | undefined;
  /** Called with a layer's trace, where one is wanted. */
  readonly onTrace?: ((trace: LayerTrace) => void) | undefined;
  /** Wants to know what share of a layer's experts half of the tokens would treat otherwise; called before `onPlan`. */
  readonly onHalf?: ((changed: number) => void) | undefined;
  /** Called when a layer's weights have been read. */
  readonly onLoaded?: (() => void) | undefined;
  /** Called with every new plan, as soon as it is there. */
  readonly onPlan: (plan: LayerPlan) => Promise<void>;
  /** Called when a layer is done, with all that is kept of it, before the next one starts. */
  readonly onLayer?: ((layer: number, plan: LayerPlan | undefined) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Plans every MoE layer in order: attention, statistics, plan, refit, steps; then, if sequential, the output of the layer as it is
 * now is handed on, else the original one's. One layer's weights are in memory at a time. Layers for multi-token prediction
 * come last, on the hidden states that the decoder ends with.
 */
export async function* planLayers(options: LayerLoopOptions): AsyncGenerator<CompressEvent, LayerPlan[]> {
  const { checkpoint, model, batches, random = [], finished, backend, predictions = [] } = options;
  const last = await lastLayer(options);
  const plans = [...finished];
  if (last === undefined) return plans;
  const ahead = new ReadAhead(checkpoint);
  let tokens: readonly TokenBatch[] = [...batches, ...random];
  const states = openStates(model, tokens, options.statesFile);
  async function* planOne(own: LayerLoopOptions, layer: LayerDescription) {
    const known = finished.find((plan) => plan.layer === layer.index);
    const next = layer.index === last ? undefined : model.layers[layer.index + 1];
    const onLoaded = () => next && ahead.start(next);
    const plan = yield* new LayerRun({ ...own, onLoaded }, layer, states, layer.index === last).run(known);
    if (plan !== undefined && known === undefined) plans.push(plan);
    own.onLayer?.(layer.index, plan);
  }
  try {
    await embedBatches(checkpoint, model, tokens, states);
    const decoder = model.layers.length - predictions.length;
    for (const layer of model.layers.slice(0, Math.min(last + 1, decoder))) yield* planOne(options, layer);
    if (last < decoder) return plans;
    await normStates(checkpoint, backend, model.finalNorm, states);
    for (const prediction of predictions) {
      tokens = await predictionInput(checkpoint, model, backend, prediction, tokens, states);
      const own = { batches: tokens.slice(0, batches.length), random: tokens.slice(batches.length) };
      yield* planOne({ ...options, ...own, recorded: undefined }, prediction.layer);
      await normStates(checkpoint, backend, prediction.outputNorm, states);
    }
    return plans;
  } finally {
    states.close();
    await ahead.end();
  }
}

/** The last layer that has something left to do; undefined: all is done. */
async function lastLayer({
  model,
  finished,
  steps,
  refit,
  router,
  kept,
}: LayerLoopOptions): Promise<number | undefined> {
  const planned = new Set(finished.map(({ layer }) => layer));
  for (const layer of model.layers.toReversed()) {
    if (isMoe(layer) && !planned.has(layer.index)) return layer.index;
    if (isMoe(layer) && refit !== undefined && !(await refit.files.has(layer.index))) return layer.index;
    if (isMoe(layer) && router !== undefined && !(await router.files.has(layer.index))) return layer.index;
    const stepped = steps !== undefined && steppedWeights(layer, kept, steps.plan).length > 0;
    if (stepped && !(await steps.files.has(layer.index))) return layer.index;
  }
  return undefined;
}
