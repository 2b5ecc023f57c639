import { setImmediate as nextTurn } from "node:timers/promises";
import type { Checkpoint } from "../checkpoint/checkpoint.js";
import type { DType } from "../checkpoint/tensor.js";
import { Aligner } from "../compress/align.js";
import { mergeGroup, pickRouter } from "../compress/merge.js";
import { LayerObserver } from "../compress/observer.js";
import { groupOf, type LayerPlan } from "../compress/plan.js";
import { planLayer } from "../compress/plan-layer.js";
import { layerSeed, needsSamples, TokenSamples } from "../compress/samples.js";
import type { Settings } from "../compress/settings.js";
import { LayerTrace } from "../compress/trace.js";
import type { Backend } from "../engine/backend.js";
import { ReamError } from "../errors.js";
import {
  isMoe,
  type LayerDescription,
  type ModelDescription,
  type MoeLayer,
  type PredictionDescription,
} from "../model/description.js";
import { embed } from "../model/embedding.js";
import { Layer, type TokenBatch } from "../model/layer.js";
import { MoeBlock, type MoeTensors, readMoe } from "../model/moe.js";
import { normed, predictionInput } from "../model/prediction.js";
import type { CompressEvent, Phase } from "./events.js";
import type { RecordedSamples } from "./recorded-samples.js";

export interface LayerLoopOptions {
  readonly checkpoint: Checkpoint;
  readonly model: ModelDescription;
  /** The last layers of the model, if they are for multi-token prediction. */
  readonly predictions?: readonly PredictionDescription[];
  readonly backend: Backend;
  readonly settings: Settings;
  readonly batches: readonly TokenBatch[];
  /** Experts that each layer keeps. */
  readonly kept: number;
  readonly seed: number;
  /** Dtype of merged experts when later layers see them; undefined: as stored. */
  readonly mergedDtype: DType | undefined;
  /** Plans of the first layers, from an interrupted run. */
  readonly finished: readonly LayerPlan[];
  readonly recorded?: ((layer: number) => Promise<RecordedSamples>) | undefined;
  /** Called with a layer's trace, where one is wanted. */
  readonly onTrace?: ((trace: LayerTrace) => void) | undefined;
  /** Called with every new plan, before the next layer starts. */
  readonly onPlan: (plan: LayerPlan) => Promise<void>;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Plans every MoE layer in order: attention, statistics, plan; then, if sequential, the merged layer's output is handed
 * on, else the original one's. One layer's weights are in memory at a time. Layers for multi-token prediction come last, on
 * the hidden states that the decoder ends with.
 */
export async function* planLayers(options: LayerLoopOptions): AsyncGenerator<CompressEvent, LayerPlan[]> {
  const { checkpoint, model, batches, finished, backend, predictions = [] } = options;
  const moeLayers = model.layers.filter(isMoe);
  const last = moeLayers.at(-1)!.index;
  const plans = [...finished];
  if (plans.length === moeLayers.length) return plans;
  let hidden = await embed(checkpoint, model, batches);
  const decoder = model.layers.slice(0, Math.min(last + 1, model.layers.length - predictions.length));
  for (const description of decoder) yield* planOne(options, description, hidden, plans, last);
  if (predictions.length === 0) return plans;
  hidden = await normed(checkpoint, backend, model.finalNorm, hidden);
  let tokens = batches;
  for (const prediction of predictions) {
    const input = await predictionInput(checkpoint, model, backend, prediction, { batches: tokens, hidden });
    tokens = input.batches;
    hidden = [...input.hidden];
    yield* planOne({ ...options, batches: tokens, recorded: undefined }, prediction.layer, hidden, plans, last);
    hidden = await normed(checkpoint, backend, prediction.outputNorm, hidden);
  }
  return plans;
}

/** Runs one layer, which replaces the hidden states, and adds its plan where it has none yet. */
async function* planOne(
  options: LayerLoopOptions,
  description: LayerDescription,
  hidden: Float32Array[],
  plans: LayerPlan[],
  last: number,
): AsyncGenerator<CompressEvent, void> {
  const { checkpoint, model, backend, finished } = options;
  const run = new LayerRun(options, description.index, hidden);
  yield run.progress("load");
  const layer = await Layer.load(checkpoint, model, description.index, backend);
  try {
    if (isMoe(description)) {
      const known = finished.find((plan) => plan.layer === description.index);
      const plan = yield* run.moe(layer, description, known, description.index === last);
      if (known === undefined) plans.push(plan);
    } else {
      yield* run.dense(layer);
    }
  } finally {
    layer.dispose();
  }
}

/** One layer of the loop: replaces the hidden states of every batch by those after the layer. */
class LayerRun {
  private readonly tokens: number;
  private readonly began = performance.now();

  constructor(
    private readonly options: LayerLoopOptions,
    private readonly index: number,
    private readonly hidden: Float32Array[],
  ) {
    this.tokens = options.batches.reduce((sum, { ids }) => sum + ids.length, 0);
  }

  async *dense(layer: Layer): AsyncGenerator<CompressEvent, void> {
    yield* this.eachBatch("forward", (batch, index) => {
      const mixed = layer.mix(this.hidden[index]!, batch);
      const x = layer.feedForwardInput(mixed);
      this.hidden[index] = layer.finish(mixed, x, layer.feedForward(x, undefined));
    });
  }

  async *moe(layer: Layer, description: MoeLayer, known: LayerPlan | undefined, last: boolean) {
    const { checkpoint, backend, settings, onPlan } = this.options;
    const tensors = await readMoe(checkpoint, description.feedForward);
    const { sequential } = settings;
    let plan = known;
    if (plan === undefined || !sequential) {
      const block = new MoeBlock(backend, description.feedForward, tensors);
      try {
        if (plan === undefined) {
          plan = yield* this.observeAndPlan(layer, block, tensors);
          await onPlan(plan);
        } else {
          yield* this.eachBatch("forward", (batch, index) => {
            this.hidden[index] = layerOutput(layer, block, layer.mix(this.hidden[index]!, batch));
          });
        }
      } finally {
        block.dispose();
      }
    } else {
      yield* this.eachBatch("attention", (batch, index) => {
        this.hidden[index] = layer.mix(this.hidden[index]!, batch);
      });
    }
    if (known === undefined) yield { type: "layer", plan, seconds: (performance.now() - this.began) / 1000 } as const;
    if (sequential && !last) yield* this.handOn(layer, description, tensors, plan);
    return plan;
  }

  /** Leaves the hidden states after attention (sequential), or after the whole original layer. */
  private async *observeAndPlan(layer: Layer, block: MoeBlock, tensors: MoeTensors) {
    const { backend, settings, batches, kept, onTrace } = this.options;
    const observer = new LayerObserver(backend, block, settings, batchCount(this.options), await this.samples());
    yield* this.eachBatch("observe", (batch, index) => {
      const mixed = layer.mix(this.hidden[index]!, batch);
      const x = layer.feedForwardInput(mixed);
      const input = layer.moeInput(x);
      const routed = block.run(input);
      observer.add(index, input.experts, routed, batches[index]!);
      this.hidden[index] = settings.sequential ? mixed : layer.finish(mixed, x, layer.feedForward(x, routed.output));
    });
    yield this.progress("plan");
    await nextTurn();
    const trace = onTrace && new LayerTrace(this.index, block.experts.count, settings);
    const pause = async () => {
      this.options.signal?.throwIfAborted();
      await nextTurn();
    };
    const observed = observer.finish(tensors);
    const plan = await planLayer(observed, {
      ...{ layer: this.index, kept, settings, pause, trace },
      routerGroups: block.description.router.groups?.count ?? 1,
      aligner: () => Aligner.create(backend, block, tensors, observed.samples, settings, pause),
    });
    if (trace !== undefined) onTrace?.(trace);
    return plan;
  }

  /** Runs the merged block on the hidden states after attention. */
  private async *handOn(layer: Layer, description: MoeLayer, tensors: MoeTensors, plan: LayerPlan) {
    const { backend, settings, mergedDtype } = this.options;
    yield this.progress("merge");
    const rounding = { when: settings.rounding, dtype: mergedDtype };
    const experts = [];
    for (const kept of plan.keptExperts) {
      experts.push(await mergeGroup(backend, groupOf(plan, kept), (expert) => tensors.experts[expert]!, rounding));
      await nextTurn();
    }
    const merged = { ...tensors, ...pickRouter(tensors, plan.keptExperts), experts };
    const block = new MoeBlock(backend, description.feedForward, merged);
    try {
      yield* this.eachBatch("forward", (_, index) => {
        this.hidden[index] = layerOutput(layer, block, this.hidden[index]!);
      });
    } finally {
      block.dispose();
    }
  }

  private async samples(): Promise<TokenSamples | undefined> {
    const { settings, model, seed, recorded } = this.options;
    if (!needsSamples(settings)) return undefined;
    const { hidden } = model.layers.find(isMoe)!.feedForward.experts;
    if (recorded !== undefined) {
      const found = await recorded(this.index);
      this.checkRecorded(found);
      return TokenSamples.recorded(hidden, found.indices, model.experts, found.samples);
    }
    const ownSeed = layerSeed(seed, this.index);
    const share = (parts: number) => Math.max(1, Math.floor(settings.samples / parts));
    if (settings.sampling === "per-expert")
      return TokenSamples.perExpert(hidden, share(batchCount(this.options)), ownSeed);
    const sequences = this.options.batches.reduce((sum, batch) => sum + batch.sequences, 0);
    return TokenSamples.shared(hidden, share(sequences), ownSeed);
  }

  private checkRecorded({ indices, samples }: RecordedSamples): void {
    const { batches, model, settings } = this.options;
    const perBatch = model.experts * samples;
    // Exact sums leave padding out, so that indices into whole batches would mean other tokens.
    const padded = settings.statistics === "sums" && batches.some(({ mask }) => mask !== undefined);
    const inside = (token: number, i: number) => token >= 0 && token < batches[Math.floor(i / perBatch)]!.ids.length;
    if (!padded && indices.length === batches.length * perBatch && indices.every(inside)) return;
    throw new ReamError(
      "SAMPLED_TOKENS",
      `the sampled tokens of layer ${this.index} do not fit the calibration tokens`,
      {
        where: "--sampled-tokens",
        hint:
          `Expected indices below the tokens of a batch, in shape [${batches.length}, ${model.experts}, samples]; ` +
          "with padding only --statistics batch-means takes them.",
      },
    );
  }

  private async *eachBatch(phase: Phase, work: (batch: TokenBatch, index: number) => void) {
    let done = 0;
    for (const [index, batch] of this.options.batches.entries()) {
      this.options.signal?.throwIfAborted();
      work(batch, index);
      done += batch.ids.length;
      yield this.progress(phase, done);
      await nextTurn();
    }
  }

  progress(phase: Phase, done?: number): CompressEvent {
    const layers = this.options.model.layers.length;
    // Observing costs more than handing on; a rough share is enough for a progress line.
    const begin = { load: 0, attention: 0, observe: 0, plan: 0.6, merge: 0.8, forward: 0.8 }[phase];
    const end = { load: 0, attention: 0.6, observe: 0.6, plan: 0.8, merge: 0.8, forward: 1 }[phase];
    const inPhase = done === undefined ? 0 : done / this.tokens;
    return {
      type: "progress",
      layer: this.index,
      layers,
      phase,
      ...(done === undefined ? {} : { tokens: { done, total: this.tokens } }),
      share: (this.index + begin + (end - begin) * inPhase) / layers,
      memory: process.memoryUsage.rss(),
    };
  }
}

/** Hidden states after a MoE layer, of those after its mixer. */
function layerOutput(layer: Layer, block: MoeBlock, mixed: Float32Array): Float32Array {
  const x = layer.feedForwardInput(mixed);
  return layer.finish(mixed, x, layer.feedForward(x, block.run(layer.moeInput(x)).output));
}

/**
 * Number that means over batches divide by. The official code takes the number of whole batches, also where a last,
 * smaller one is added.
 */
function batchCount({ batches, settings }: LayerLoopOptions): number {
  if (settings.statistics === "sums" || settings.batchSequences === 0) return batches.length;
  const sequences = batches.reduce((sum, batch) => sum + batch.sequences, 0);
  return Math.max(1, Math.floor(sequences / settings.batchSequences));
}
