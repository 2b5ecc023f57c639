import { setImmediate as nextTurn } from "node:timers/promises";
import { Aligner } from "../compress/align.js";
import { AttentionObserver } from "../compress/attention-plan.js";
import { mergeGroup, pickRouter, reduceBlock } from "../compress/merge.js";
import { type LayerObservation, LayerObserver } from "../compress/observer.js";
import { type BlockPlan, type Group, groupOf, isMerged, type LayerPlan } from "../compress/plan.js";
import { planLayer } from "../compress/plan-layer.js";
import { samplingError } from "../compress/sampling-error.js";
import { changedShare, snapshot } from "../compress/stability.js";
import type { InputSums } from "../compress/steps/input-sums.js";
import { LayerTrace } from "../compress/trace.js";
import type { ExpertTensors } from "../engine/backend.js";
import {
  attentionExperts,
  isMoe,
  type LayerDescription,
  type MoeLayer,
  type RoutedExperts,
} from "../model/description.js";
import { codingOf, type ExpertCoding } from "../model/expert-coding.js";
import type { ExpertPart } from "../model/expert-storage.js";
import { Layer, type MoeInput, type TokenBatch } from "../model/layer.js";
import type { LinearPart } from "../model/linear-weights.js";
import { MoeBlock, type MoeTensors, readMoe, routerWeights } from "../model/moe.js";
import { route } from "../model/router.js";
import type { WeightChanges } from "../model/weight-loader.js";
import type { CompressEvent, Phase } from "./events.js";
import { guardPlan } from "./guard/layer-guard.js";
import { layerChooser } from "./layer-chooser.js";
import type { LayerLoopOptions } from "./layer-loop.js";
import { batchCount, layerSamples, meanSample } from "./layer-samples.js";
import { LayerRefitter } from "./reconstruct/layer-refit.js";
import { LayerTargets } from "./reconstruct/layer-targets.js";
import { splitForGuard, splitForRefit } from "./reconstruct/split-layer.js";
import { relay } from "./relay.js";
import { requantiseGroup } from "./requantise.js";
import { LayerRouterFit } from "./router/layer-router.js";
import type { ExpertInputs } from "./steps/expert-steps.js";
import { type LayerChange, LayerSteps, type ReducedExperts } from "./steps/layer-steps.js";
import { RoutedRows } from "./steps/routed-rows.js";
import { TappedInputs } from "./steps/tapped-inputs.js";

/** Where a phase begins and ends in the work of a layer: a rough share is enough for a progress line. */
const SHARES: Readonly<Record<Phase, readonly [begin: number, end: number]>> = {
  load: [0, 0],
  attention: [0, 0.5],
  observe: [0, 0.5],
  plan: [0.5, 0.54],
  router: [0.54, 0.55],
  reconstruct: [0.55, 0.6],
  steps: [0.6, 0.8],
  merge: [0.8, 0.8],
  forward: [0.8, 1],
};

/** What is told the original block's outputs while it is there. */
type OutputWatcher = Pick<LayerTargets, "uses" | "observe">;

/** One layer of the loop: replaces the hidden states of every batch by those after the layer. */
export class LayerRun {
  private readonly tokens: number;
  private readonly began = performance.now();
  /** What is done to the layer's matrices; undefined: nothing. */
  private readonly steps: LayerSteps | undefined;
  private layer: Layer | undefined;
  /** What is left of the attention's experts, where they were reduced. */
  private attention: MoeTensors | undefined;

  constructor(
    private readonly options: LayerLoopOptions,
    private readonly description: LayerDescription,
    private readonly hidden: Float32Array[],
    /** Nothing comes after this layer: its output is not needed. */
    private readonly last: boolean,
  ) {
    this.tokens = options.batches.reduce((sum, { ids }) => sum + ids.length, 0);
    const { checkpoint, backend, steps, settings } = options;
    if (steps === undefined) return;
    if (!settings.sequential) throw new TypeError("steps need a sequential run");
    const own = new LayerSteps(checkpoint, backend, steps, description);
    if (own.changes) this.steps = own;
  }

  /** Runs the layer; returns the plan of a MoE layer. @param known its plan, where there is one */
  async *run(known: LayerPlan | undefined): AsyncGenerator<CompressEvent, LayerPlan | undefined> {
    yield this.progress("load");
    try {
      const restored = this.steps !== undefined && (await this.steps.done);
      if (restored) await this.steps!.restore();
      const attention = yield* this.reduceAttention(known);
      await this.load();
      if (!restored) yield* this.changeMixer();
      if (isMoe(this.description)) return yield* this.moe(this.description, attention, known, restored);
      this.options.onLoaded?.();
      yield* this.dense(restored);
      return undefined;
    } finally {
      this.layer?.dispose();
    }
  }

  private async *dense(restored: boolean): AsyncGenerator<CompressEvent, void> {
    yield* this.mix();
    if (this.steps !== undefined && !restored) {
      yield* this.changeFeedForward("dense");
      yield* this.keep(undefined);
    }
    if (this.last) return;
    yield* this.eachBatch("forward", (_, index) => {
      const layer = this.layer!;
      const mixed = this.hidden[index]!;
      const x = layer.feedForwardInput(mixed);
      this.hidden[index] = layer.finish(mixed, x, layer.feedForward(x, undefined));
    });
  }

  /** The plan of the attention's experts, where it has some. In sequential runs the layer has the reduced ones from now on. */
  private async *reduceAttention(known: LayerPlan | undefined): AsyncGenerator<CompressEvent, BlockPlan | undefined> {
    const mixture = attentionExperts(this.description);
    if (mixture === undefined) return undefined;
    const { checkpoint, backend, settings, mergedDtype } = this.options;
    const plan = known?.attention ?? (yield* this.planAttention(mixture));
    if (settings.sequential) {
      const rounding = { when: settings.rounding, dtype: mergedDtype };
      this.attention = await reduceBlock(backend, await readMoe(checkpoint, mixture), plan, rounding);
    }
    return plan;
  }

  private async *planAttention(mixture: RoutedExperts): AsyncGenerator<CompressEvent, BlockPlan> {
    const { backend, settings, kept } = this.options;
    const observer = new AttentionObserver(backend, mixture, settings);
    let mask: TokenBatch["mask"];
    const layer = await this.open({ attentionTap: (x, routed) => observer.add(x, routed, mask) });
    try {
      yield* this.eachBatch("attention", (batch, index) => {
        mask = batch.mask;
        layer.mix(this.hidden[index]!, batch);
      });
    } finally {
      layer.dispose();
    }
    return observer.plan({ layer: this.description.index, kept, pause: this.pause });
  }

  private async *moe(
    description: MoeLayer,
    attention: BlockPlan | undefined,
    known: LayerPlan | undefined,
    restored: boolean,
  ) {
    const { checkpoint, backend, settings, onPlan } = this.options;
    const tensors = await readMoe(checkpoint, description.feedForward, backend);
    this.options.onLoaded?.();
    const { sequential } = settings;
    const { targets, refits } = await this.targets(description, known);
    const routerFit = await this.routerFit(description);
    const watching = [targets, routerFit].filter((one) => one !== undefined);
    let plan = known;
    if (plan === undefined || !sequential || watching.length > 0) {
      const block = new MoeBlock(backend, description.feedForward, tensors);
      try {
        if (plan === undefined) {
          const own = yield* this.observeAndPlan(block, tensors, watching);
          plan = attention === undefined ? own : { ...own, attention };
          if (this.options.guard !== undefined) plan = yield* this.guarded(description, tensors, plan, targets!);
          await onPlan(plan);
        } else if (sequential) {
          yield* this.eachBatch("observe", (batch, index) => {
            const mixed = this.layer!.mix(this.hidden[index]!, batch);
            this.hidden[index] = mixed;
            if (!watching.some((one) => one.uses(index))) return;
            const { output } = block.run(this.moeInput(mixed));
            for (const one of watching) one.observe(index, mixed, output);
          });
        } else {
          yield* this.eachBatch("forward", (batch, index) => {
            this.hidden[index] = layerOutput(this.layer!, block, this.layer!.mix(this.hidden[index]!, batch));
          });
        }
      } finally {
        block.dispose();
      }
    } else {
      yield* this.mix();
    }
    if (routerFit !== undefined) yield* this.fitRouter(routerFit, tensors, plan);
    if (refits) yield* this.reconstruct(description, tensors, plan, targets!);
    if (this.steps !== undefined && !restored) yield* this.changeMoe(description, tensors, plan);
    if (known === undefined) yield { type: "layer", plan, seconds: (performance.now() - this.began) / 1000 } as const;
    if (sequential && !this.last) yield* this.handOn(description, tensors, plan);
    return plan;
  }

  /** Leaves the hidden states after attention (sequential), or after the whole original layer. */
  private async *observeAndPlan(block: MoeBlock, tensors: MoeTensors, watching: readonly OutputWatcher[]) {
    const { backend, settings, batches, kept, onTrace } = this.options;
    const layer = this.layer!;
    const samples = await layerSamples(this.options, this.description.index);
    const observer = new LayerObserver(
      backend,
      block,
      settings,
      batchCount(this.options),
      samples,
      meanSample(this.options, this.description.index, block),
    );
    const chooser = layerChooser(this.options, block);
    const halfway = this.options.onHalf && Math.floor(batches.length / 2);
    let half: LayerObservation | undefined;
    yield* this.eachBatch("observe", (batch, index) => {
      if (index === halfway && index > 0) half = snapshot(observer.finish(tensors));
      const mixed = layer.mix(this.hidden[index]!, batch);
      const x = layer.feedForwardInput(mixed);
      const input = layer.moeInput(x);
      const routed = block.run(input);
      observer.add(index, input.experts, routed, batches[index]!);
      chooser?.observe(index, mixed, input, routed.router);
      for (const one of watching) one.observe(index, mixed, routed.output);
      this.hidden[index] = settings.sequential ? mixed : layer.finish(mixed, x, layer.feedForward(x, routed.output));
    });
    yield this.progress("plan");
    await nextTurn();
    const trace = onTrace && new LayerTrace(this.description.index, block.experts.count, settings);
    const { pause } = this;
    const observed = observer.finish(tensors);
    const routerGroups = block.description.router.groups?.count ?? 1;
    const chosen = await chooser?.choose(observer, observed, pause);
    const how = { layer: this.description.index, kept, settings, pause, routerGroups };
    const plan = await planLayer(observed, {
      ...how,
      ...{ trace, chosen },
      aligner: () => Aligner.create(backend, block, tensors, observed.samples, settings, pause),
    });
    if (trace !== undefined) onTrace?.(trace);
    this.options.onHalf?.(half === undefined ? 1 : await changedShare(half, plan, how));
    if (observed.sampled !== undefined) {
      const inputs = { experts: block.experts.count, gateGram: observed.gateGram };
      const error = samplingError(inputs, observed.sampled, settings, plan.groups, routerGroups);
      yield { type: "sampling", layer: this.description.index, ...error } as const;
    }
    return plan;
  }

  /** Runs the reduced block on the hidden states after attention. */
  private async *handOn(description: MoeLayer, tensors: MoeTensors, plan: LayerPlan) {
    const { backend } = this.options;
    yield this.progress("merge");
    const experts = [];
    for (const slot of plan.keptExperts.keys()) {
      const reduced = await this.reduced(tensors, plan, slot);
      experts.push(this.steps === undefined ? reduced : await this.steps.expertValues(description, slot, reduced));
      await nextTurn();
    }
    const merged = { ...tensors, ...(await this.router(tensors, plan)), experts };
    const block = new MoeBlock(backend, description.feedForward, merged);
    try {
      yield* this.eachBatch("forward", (_, index) => {
        this.hidden[index] = layerOutput(this.layer!, block, this.hidden[index]!);
      });
    } finally {
      block.dispose();
    }
  }

  /** The reduced layer's expert of a slot, refitted where the layer is, before steps. */
  private async reduced(tensors: MoeTensors, plan: LayerPlan, slot: number): Promise<ExpertTensors> {
    const merged = await this.merged(tensors, plan, slot);
    return this.options.refit?.files.expert(plan.layer, slot, merged) ?? merged;
  }

  /** The expert of a slot as later layers see it, before a refit. */
  private merged(tensors: MoeTensors, plan: LayerPlan, slot: number): Promise<ExpertTensors> {
    return this.mergedGroup(tensors, groupOf(plan, plan.keptExperts[slot]!));
  }

  /** As later layers see it: merged experts of a quantised source are rounded to its form again. */
  private async mergedGroup(tensors: MoeTensors, group: Group): Promise<ExpertTensors> {
    const { backend, checkpoint, settings, mergedDtype } = this.options;
    const read = (expert: number) => tensors.experts[expert]!;
    const coding = this.options.requantises && isMerged(group) ? this.coding : undefined;
    if (coding === undefined) return mergeGroup(backend, group, read, { when: settings.rounding, dtype: mergedDtype });
    const { stored } = await requantiseGroup(backend, coding, checkpoint, group, settings.rounding, read);
    return coding.decode(stored, backend);
  }

  /** How the layer's experts are quantised. */
  private get coding(): ExpertCoding | undefined {
    const { feedForward } = this.description;
    return feedForward.kind === "moe" ? codingOf(this.options.checkpoint, feedForward.experts) : undefined;
  }

  /** The reduced layer's router, fitted where it is. */
  private async router(tensors: MoeTensors, plan: LayerPlan) {
    const picked = pickRouter(tensors, plan.keptExperts);
    return this.options.router?.files.router(plan.layer, picked) ?? picked;
  }

  /** What fits the layer's router; undefined where that is not asked for, or done. */
  private async routerFit(description: MoeLayer): Promise<LayerRouterFit | undefined> {
    const { backend, batches, router, settings } = this.options;
    if (router === undefined || (await router.files.has(description.index))) return undefined;
    if (!settings.sequential) throw new TypeError("fits of routers need a sequential run");
    return new LayerRouterFit(backend, router, description.index, description.feedForward, batches);
  }

  /** Fits the router of the reduced layer, and keeps what comes of it. */
  private async *fitRouter(
    fit: LayerRouterFit,
    tensors: MoeTensors,
    plan: LayerPlan,
  ): AsyncGenerator<CompressEvent, void> {
    yield this.progress("router");
    const experts: ExpertTensors[] = [];
    for (const slot of plan.keptExperts.keys()) experts.push(await this.merged(tensors, plan, slot));
    const reduced = pickRouter(tensors, plan.keptExperts);
    const moeInput = (hidden: Float32Array) => this.moeInput(hidden);
    const fitted = yield* this.told("router", (pause) =>
      fit.run(plan, this.hidden, { original: tensors, reduced, experts, moeInput }, pause),
    );
    yield { type: "router", ...fitted };
  }

  /** What a refit or a guard compares with, where there is one still to do, and whether that is a refit. */
  private async targets(description: MoeLayer, known: LayerPlan | undefined) {
    const { backend, batches, refit, guard, settings } = this.options;
    const refits = refit !== undefined && !(await refit.files.has(description.index));
    const guards = guard !== undefined && known === undefined;
    if (!refits && !guards) return { targets: undefined, refits };
    if (!settings.sequential) throw new TypeError("refits and guards need a sequential run");
    const moe = description.feedForward;
    const split = refit !== undefined ? splitForRefit(refit.plan, moe, batches) : splitForGuard(guard!, batches);
    return { targets: new LayerTargets(backend, moe, split), refits };
  }

  /** The plan with the merges that are better than their centroids alone. */
  private async *guarded(
    { feedForward: moe }: MoeLayer,
    tensors: MoeTensors,
    plan: LayerPlan,
    targets: LayerTargets,
  ): AsyncGenerator<CompressEvent, LayerPlan> {
    const { backend } = this.options;
    const router = routerWeights(backend, pickRouter(tensors, plan.keptExperts));
    const expert = (group: Group) => this.mergedGroup(tensors, group);
    const moeInput = (hidden: Float32Array) => this.moeInput(hidden);
    try {
      return yield* this.told("plan", (pause) =>
        guardPlan(plan, { ...{ backend, moe, targets, router, expert, moeInput, pause }, hidden: this.hidden }),
      );
    } finally {
      router.weight.dispose();
    }
  }

  /** Refits the kept experts to the outputs of the original block, and keeps what comes of it. */
  private async *reconstruct(
    { index, feedForward: moe }: MoeLayer,
    tensors: MoeTensors,
    plan: LayerPlan,
    targets: LayerTargets,
  ): AsyncGenerator<CompressEvent, void> {
    const { backend, mergedDtype: dtype, refit } = this.options;
    yield this.progress("reconstruct");
    const experts: ExpertTensors[] = [];
    for (const slot of plan.keptExperts.keys()) experts.push(await this.merged(tensors, plan, slot));
    const router = routerWeights(backend, await this.router(tensors, plan));
    const moeInput = (hidden: Float32Array) => this.moeInput(hidden);
    try {
      const done = yield* this.told("reconstruct", (pause) =>
        new LayerRefitter(backend, refit!, index, moe).run(
          plan,
          targets,
          this.hidden,
          { router, experts, dtype, moeInput },
          pause,
        ),
      );
      yield { type: "reconstruct", ...done };
    } finally {
      router.weight.dispose();
    }
  }

  /** Does long work that tells its share and lets others work. */
  private told<Result>(
    phase: Phase,
    work: (pause: (share: number) => Promise<void>) => Promise<Result>,
  ): AsyncGenerator<CompressEvent, Result> {
    return relay((emit) =>
      work(async (share) => {
        this.options.signal?.throwIfAborted();
        emit(this.progress(phase, share * this.tokens));
        await nextTurn();
      }),
    );
  }

  /** Does the steps to the mixer, and loads the layer with what they made of it. */
  private async *changeMixer(): AsyncGenerator<CompressEvent, void> {
    const { steps } = this;
    if (!steps?.has("attention")) return;
    const inputs = yield* this.inputsOf("attention", (layer, batch, index) => layer.mix(this.hidden[index]!, batch));
    await steps.change(["attention"], inputs);
    await this.load();
  }

  /** The same with the dense block or the shared expert; hidden states are those after the mixer. */
  private async *changeFeedForward(part: "dense" | "shared"): AsyncGenerator<CompressEvent, void> {
    const { steps } = this;
    if (!steps?.has(part)) return;
    const width = isMoe(this.description) ? this.description.feedForward.experts.hidden : undefined;
    const inputs = yield* this.inputsOf(part, (layer, batch, index) => {
      const x = layer.feedForwardInput(this.hidden[index]!);
      layer.feedForward(x, width === undefined ? undefined : new Float32Array(batch.ids.length * width));
    });
    await steps.change([part], inputs);
    await this.load();
  }

  /** Sums over the inputs of a part's projections, by the name of the weight, while the part runs on every batch. */
  private async *inputsOf(part: LinearPart, run: (layer: Layer, batch: TokenBatch, index: number) => void) {
    const { need } = this.options.steps!.plan;
    if (need === "nothing") return new Map<string, InputSums>();
    const inputs = new TappedInputs(this.options.backend, need, (weight) => this.steps!.columns(weight));
    const layer = await this.open({ tap: inputs.tap });
    try {
      yield* this.eachBatch(part === "attention" ? "attention" : "steps", (batch, index) => {
        inputs.mask = batch.mask;
        run(layer, batch, index);
      });
    } finally {
      layer.dispose();
    }
    return inputs.sums;
  }

  /** Does the steps to the shared expert and the routed ones, and keeps what they made. */
  private async *changeMoe(description: MoeLayer, tensors: MoeTensors, plan: LayerPlan) {
    const { steps } = this.options;
    yield* this.changeFeedForward("shared");
    const needed = steps!.plan.need !== "nothing" && this.steps!.has("experts");
    const inputs = needed ? await this.expertInputs(description, tensors, plan) : undefined;
    const refitted = await this.options.refit?.files.parts(plan.layer);
    const dtypes = (slot: number, matrix: ExpertPart) => {
      const group = groupOf(plan, plan.keptExperts[slot]!);
      const { dtype } = tensors.experts[group.members[0]!]![matrix]!;
      const changed = isMerged(group) || refitted?.has(matrix) === true;
      return changed ? (this.options.mergedDtype ?? dtype) : dtype;
    };
    yield* this.keep({ read: (slot) => this.reduced(tensors, plan, slot), dtype: dtypes, inputs });
  }

  /** Which tokens the reduced router sends to each kept expert. */
  private async expertInputs({ feedForward }: MoeLayer, tensors: MoeTensors, plan: LayerPlan): Promise<ExpertInputs> {
    const { backend, batches } = this.options;
    const router = routerWeights(backend, await this.router(tensors, plan));
    const size = this.hidden[0]!.length / batches[0]!.ids.length;
    const rows = new RoutedRows(plan.keptExperts.length, this.hidden, size);
    try {
      for (const [index, { mask }] of batches.entries()) {
        const { router: x } = this.moeInput(this.hidden[index]!);
        rows.add(index, route(backend, x, router, feedForward.router), mask);
      }
    } finally {
      router.weight.dispose();
    }
    return { rows, moeInput: (hidden) => this.moeInput(hidden) };
  }

  /** What router and routed experts see of hidden states after the mixer. */
  private moeInput(hidden: Float32Array): MoeInput {
    return this.layer!.moeInput(this.layer!.feedForwardInput(hidden));
  }

  private async *keep(experts: ReducedExperts | undefined): AsyncGenerator<CompressEvent, void> {
    const change = yield* relay<CompressEvent, LayerChange>((emit) =>
      this.steps!.finish(experts, (done, total) => {
        this.options.signal?.throwIfAborted();
        emit(this.progress("steps", (done / total) * this.tokens));
      }),
    );
    yield { type: "steps", ...change };
  }

  private async *mix(): AsyncGenerator<CompressEvent, void> {
    yield* this.eachBatch("attention", (batch, index) => {
      this.hidden[index] = this.layer!.mix(this.hidden[index]!, batch);
    });
  }

  /** Loads the layer, with what the steps have made so far. */
  private async load(): Promise<void> {
    this.layer?.dispose();
    this.layer = await this.open({});
  }

  private open(changes: WeightChanges): Promise<Layer> {
    const { checkpoint, model, backend } = this.options;
    return Layer.load(checkpoint, model, this.description.index, backend, {
      ...changes,
      replaced: this.steps?.replaced,
      attention: this.attention,
    });
  }

  private readonly pause = async () => {
    this.options.signal?.throwIfAborted();
    await nextTurn();
  };

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
    const [begin, end] = SHARES[phase];
    const inPhase = done === undefined ? 0 : done / this.tokens;
    return {
      type: "progress",
      layer: this.description.index,
      layers,
      phase,
      ...(done === undefined ? {} : { tokens: { done, total: this.tokens } }),
      share: (this.description.index + begin + (end - begin) * inPhase) / layers,
      memory: process.memoryUsage.rss(),
    };
  }
}

/** Hidden states after a MoE layer, of those after its mixer. */
function layerOutput(layer: Layer, block: MoeBlock, mixed: Float32Array): Float32Array {
  const x = layer.feedForwardInput(mixed);
  return layer.finish(mixed, x, layer.feedForward(x, block.run(layer.moeInput(x)).output));
}
