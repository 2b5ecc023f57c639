import type { BlockPlan, LayerPlan } from "../../compress/plan.js";
import type { Experts } from "../../engine/backend.js";
import { isMoe, type LayerDescription, type MoeLayer } from "../../model/description.js";
import type { HiddenStates } from "../../model/hidden-states.js";
import { MoeBlock, readMoe, readyExperts } from "../../model/moe.js";
import type { CompressEvent } from "../events.js";
import type { LayerLoopOptions } from "../layer-loop.js";
import { reduceAttention } from "./attention-experts.js";
import { LayerWork } from "./layer-work.js";
import { type OutputWatcher, observeAndPlan, observeOnly } from "./observe-and-plan.js";
import { ReducedLayer } from "./reduced-layer.js";
import { fitRouter, guarded, layerRefits, reconstruct } from "./refits.js";
import { SteppedLayer } from "./stepped-layer.js";

/** One layer of the loop: replaces the hidden states of every batch by those after the layer. */
export class LayerRun {
  private readonly began = performance.now();
  private readonly work: LayerWork;
  /** What `--then` does to the layer; undefined: nothing. */
  private steps: SteppedLayer | undefined;

  constructor(
    private readonly options: LayerLoopOptions,
    private readonly description: LayerDescription,
    hidden: HiddenStates,
    /** Nothing comes after this layer: its output is not needed. */
    private readonly last: boolean,
  ) {
    this.work = new LayerWork(options, description, hidden);
  }

  /** Runs the layer; returns the plan of a MoE layer. @param known its plan, where there is one */
  async *run(known: LayerPlan | undefined): AsyncGenerator<CompressEvent, LayerPlan | undefined> {
    const { work, description } = this;
    yield work.progress("load");
    try {
      this.steps = await SteppedLayer.of(work);
      const attention = yield* reduceAttention(work, known?.attention);
      await work.load();
      if (this.steps !== undefined) yield* this.steps.mixer();
      if (isMoe(description)) return yield* this.moe(description, attention, known);
      this.options.onLoaded?.();
      yield* this.dense();
      return undefined;
    } finally {
      work.dispose();
    }
  }

  private async *dense(): AsyncGenerator<CompressEvent, void> {
    const { work } = this;
    yield* work.mix();
    if (this.steps !== undefined) yield* this.steps.dense();
    if (this.last) return;
    yield* work.eachBatch("forward", (_, index) => {
      const mixed = work.hidden.get(index);
      const x = work.layer.feedForwardInput(mixed);
      work.hidden.set(index, work.layer.finish(mixed, x, work.layer.feedForward(x, undefined)));
    });
  }

  private async *moe(
    layer: MoeLayer,
    attention: BlockPlan | undefined,
    known: LayerPlan | undefined,
  ): AsyncGenerator<CompressEvent, LayerPlan> {
    const { work } = this;
    const { checkpoint, backend, settings, onPlan } = this.options;
    const tensors = await readMoe(checkpoint, layer.feedForward, backend);
    this.options.onLoaded?.();
    const { targets, guards, reconstructs, routerFit } = await layerRefits(work, layer, known !== undefined);
    const watching = [targets, routerFit].filter((one) => one !== undefined);
    const reducedBy = (plan: LayerPlan) => new ReducedLayer(this.options, layer.feedForward, tensors, plan);
    let plan = known;
    let ready: Experts | undefined;
    try {
      if (plan === undefined || !settings.sequential || watching.length > 0) {
        const block = await MoeBlock.load(backend, layer.feedForward, tensors);
        try {
          if (plan === undefined) {
            const own = yield* observeAndPlan(work, block, tensors, watching);
            plan = attention === undefined ? own : { ...own, attention };
            if (guards) plan = yield* guarded(work, reducedBy(plan), targets!);
            await onPlan(plan);
          } else yield* this.original(block, watching);
          if (this.handsOnMerged) ready = await reducedBy(plan).readyExperts(block.experts);
        } finally {
          block.dispose();
        }
      } else {
        yield* work.mix();
      }
      const reduced = reducedBy(plan);
      if (routerFit !== undefined) yield* fitRouter(work, reduced, routerFit);
      if (reconstructs) yield* reconstruct(work, layer, reduced, targets!);
      if (this.steps !== undefined) yield* this.steps.experts(layer, reduced);
      if (known === undefined) yield { type: "layer", plan, seconds: (performance.now() - this.began) / 1000 };
      if (settings.sequential && !this.last) yield* this.handOn(layer, reduced, ready);
      return plan;
    } finally {
      ready?.dispose();
    }
  }

  /** Whether the next layer sees the experts as merging leaves them. */
  private get handsOnMerged(): boolean {
    const { settings, refit } = this.options;
    return settings.sequential && !this.last && refit === undefined && this.steps === undefined;
  }

  /** Runs the original block where the plan is known: for those who look at its outputs, or for the next layer. */
  private async *original(block: MoeBlock, watching: readonly OutputWatcher[]): AsyncGenerator<CompressEvent, void> {
    const { work } = this;
    if (!this.options.settings.sequential) {
      yield* work.eachBatch("forward", (batch, index) => {
        work.hidden.set(index, this.output(block, work.layer.mix(work.hidden.get(index), batch)));
      });
      return;
    }
    yield* work.eachBatch("observe", (batch, index) => {
      const mixed = work.layer.mix(work.hidden.get(index), batch);
      work.hidden.set(index, mixed);
      observeOnly(work, block, index, mixed, watching);
    });
  }

  /** Runs the reduced block on the hidden states after attention. @param ready its experts, where they are; disposes of them */
  private async *handOn(
    layer: MoeLayer,
    reduced: ReducedLayer,
    ready: Experts | undefined,
  ): AsyncGenerator<CompressEvent, void> {
    const { work, steps } = this;
    const { backend } = this.options;
    yield work.progress("merge");
    const read = async (slot: number) => {
      const expert = await reduced.expert(slot);
      return steps === undefined ? expert : steps.expertValues(layer, slot, expert);
    };
    const { activation } = layer.feedForward;
    const stored = { count: reduced.plan.keptExperts.length, read };
    const experts = ready ?? (await readyExperts(backend, stored, activation));
    const router = { ...reduced.tensors, ...(await reduced.router()) };
    const block = new MoeBlock(backend, layer.feedForward, router, experts);
    try {
      yield* work.eachBatch("forward", (_, index) => {
        work.hidden.set(index, this.output(block, work.hidden.get(index)));
      });
    } finally {
      block.dispose();
    }
  }

  /** Hidden states after the layer, of those after its mixer. */
  private output(block: MoeBlock, mixed: Float32Array): Float32Array {
    const { layer } = this.work;
    const x = layer.feedForwardInput(mixed);
    return layer.finish(mixed, x, layer.feedForward(x, block.run(layer.moeInput(x)).output));
  }
}
