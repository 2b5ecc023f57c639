import { setImmediate as nextTurn } from "node:timers/promises";
import type { LayerDescription } from "../../model/description.js";
import type { HiddenStates } from "../../model/hidden-states.js";
import { Layer, type MoeInput, type TokenBatch } from "../../model/layer.js";
import type { MoeTensors } from "../../model/moe.js";
import type { WeightChanges } from "../../model/weight-loader.js";
import type { CompressEvent, Phase } from "../events.js";
import type { LayerLoopOptions } from "../layer-loop.js";
import { relay } from "../relay.js";

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

/** A layer that is worked on: its weights as they are by now, the hidden states of every batch, and who is told of it. */
export class LayerWork {
  /** Those of the calibration text, and behind them the random ones that refits look at. */
  readonly batches: readonly TokenBatch[];
  readonly tokens: number;
  /** Weights that stand in for the checkpoint's, and what is left of the attention's experts. */
  readonly changes: { replaced?: WeightChanges["replaced"]; attention?: MoeTensors } = {};
  private loaded: Layer | undefined;

  constructor(
    readonly options: LayerLoopOptions,
    readonly description: LayerDescription,
    /** Of each batch; before the layer, after its mixer or after it, as the work goes on. */
    readonly hidden: HiddenStates,
  ) {
    this.batches = [...options.batches, ...(options.random ?? [])];
    this.tokens = this.batches.reduce((sum, { ids }) => sum + ids.length, 0);
  }

  /** The layer, once it is loaded. */
  get layer(): Layer {
    return this.loaded!;
  }

  /** Loads the layer, with what was changed so far. */
  async load(): Promise<void> {
    this.loaded?.dispose();
    this.loaded = await this.open({});
  }

  /** The layer once more; dispose of it. */
  open(changes: WeightChanges): Promise<Layer> {
    const { checkpoint, model, backend } = this.options;
    return Layer.load(checkpoint, model, this.description.index, backend, { ...changes, ...this.changes });
  }

  dispose(): void {
    this.loaded?.dispose();
  }

  /** What router and routed experts see of hidden states after the mixer. */
  readonly moeInput = (hidden: Float32Array): MoeInput => this.layer.moeInput(this.layer.feedForwardInput(hidden));

  /** Leaves the hidden states after the mixer. */
  async *mix(): AsyncGenerator<CompressEvent, void> {
    yield* this.eachBatch("attention", (batch, index) => {
      this.hidden.set(index, this.layer.mix(this.hidden.get(index), batch));
    });
  }

  /** @param batches those from the first on that are worked on; default: all */
  async *eachBatch(
    phase: Phase,
    work: (batch: TokenBatch, index: number) => void | Promise<void>,
    batches = this.batches,
  ): AsyncGenerator<CompressEvent, void> {
    let done = 0;
    for (const [index, batch] of batches.entries()) {
      this.options.signal?.throwIfAborted();
      await work(batch, index);
      done += batch.ids.length;
      yield this.progress(phase, done);
      await nextTurn();
    }
  }

  /** Does long work that tells its share and lets others work. */
  told<Result>(
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

  /** Lets others work, and stops where that is wished. */
  readonly pause = async () => {
    this.options.signal?.throwIfAborted();
    await nextTurn();
  };

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
