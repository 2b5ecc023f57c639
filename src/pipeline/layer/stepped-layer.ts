import type { DType } from "../../checkpoint/tensor.js";
import { groupOf, isMerged } from "../../compress/plan.js";
import type { InputSums } from "../../compress/steps/input-sums.js";
import type { ExpertTensors } from "../../engine/backend.js";
import { isMoe, type MoeLayer } from "../../model/description.js";
import type { ExpertPart } from "../../model/expert-storage.js";
import type { Layer, TokenBatch } from "../../model/layer.js";
import type { LinearPart } from "../../model/linear-weights.js";
import type { StoredExperts } from "../../model/moe.js";
import type { CompressEvent } from "../events.js";
import { relay } from "../relay.js";
import { type LayerChange, LayerSteps, type ReducedExperts } from "../steps/layer-steps.js";
import { TappedInputs } from "../steps/tapped-inputs.js";
import type { LayerWork } from "./layer-work.js";
import type { ReducedLayer } from "./reduced-layer.js";
import { tokensOfExperts } from "./tokens-of-experts.js";

/** Does the steps of `--then` to a layer while it is worked on: part after part, each on what those before have become. */
export class SteppedLayer {
  private constructor(
    private readonly work: LayerWork,
    private readonly steps: LayerSteps,
    /** Whether an earlier run has kept the results. */
    private readonly restored: boolean,
  ) {}

  /** Undefined where nothing of the layer is changed. */
  static async of(work: LayerWork): Promise<SteppedLayer | undefined> {
    const { checkpoint, backend, steps, settings } = work.options;
    if (steps === undefined) return undefined;
    if (!settings.sequential) throw new TypeError("steps need a sequential run");
    const own = new LayerSteps(checkpoint, backend, steps, work.description);
    if (!own.changes) return undefined;
    const restored = await own.done;
    if (restored) await own.restore();
    work.changes.replaced = own.replaced;
    return new SteppedLayer(work, own, restored);
  }

  /** Changes the mixer, and loads the layer with it. */
  async *mixer(): AsyncGenerator<CompressEvent, void> {
    const { hidden } = this.work;
    yield* this.change("attention", (layer, batch, index) => layer.mix(hidden.get(index), batch));
  }

  /** Changes the dense block; hidden states are those after the mixer. Keeps everything. */
  async *dense(): AsyncGenerator<CompressEvent, void> {
    if (this.restored) return;
    yield* this.block("dense");
    yield* this.keep(undefined);
  }

  /** Changes the shared expert and the routed ones; hidden states are those after the mixer. Keeps everything. */
  async *experts(layer: MoeLayer, reduced: ReducedLayer): AsyncGenerator<CompressEvent, void> {
    if (this.restored) return;
    const { steps, refit, mergedDtype } = this.work.options;
    const { plan, tensors } = reduced;
    yield* this.block("shared");
    const needed = steps!.plan.need !== "nothing" && this.steps.has("experts");
    const inputs = needed ? await tokensOfExperts(this.work, layer, reduced) : undefined;
    const refitted = await refit?.files.parts(plan.layer);
    const stored = await dtypesOf(tensors.experts, plan.keptExperts);
    const dtype = (slot: number, matrix: ExpertPart) => {
      const group = groupOf(plan, plan.keptExperts[slot]!);
      const dtype = stored[slot]![matrix]!;
      const changed = isMerged(group) || refitted?.has(matrix) === true;
      return changed ? (mergedDtype ?? dtype) : dtype;
    };
    yield* this.keep({ read: (slot) => reduced.expert(slot), dtype, inputs });
  }

  /** The expert of a slot as later layers see it. */
  expertValues(layer: MoeLayer, slot: number, reduced: ExpertTensors): Promise<ExpertTensors> {
    return this.steps.expertValues(layer, slot, reduced);
  }

  private async *block(part: "dense" | "shared"): AsyncGenerator<CompressEvent, void> {
    const { description, hidden } = this.work;
    const width = isMoe(description) ? description.feedForward.experts.hidden : undefined;
    yield* this.change(part, (layer, batch, index) => {
      const x = layer.feedForwardInput(hidden.get(index));
      layer.feedForward(x, width === undefined ? undefined : new Float32Array(batch.ids.length * width));
    });
  }

  private async *change(
    part: LinearPart,
    run: (layer: Layer, batch: TokenBatch, index: number) => void,
  ): AsyncGenerator<CompressEvent, void> {
    if (this.restored || !this.steps.has(part)) return;
    await this.steps.change([part], yield* this.inputsOf(part, run));
    await this.work.load();
  }

  /** Sums over the inputs of a part's projections, by the name of the weight, while the part runs on every batch. */
  private async *inputsOf(part: LinearPart, run: (layer: Layer, batch: TokenBatch, index: number) => void) {
    const { work } = this;
    const { need } = work.options.steps!.plan;
    if (need === "nothing") return new Map<string, InputSums>();
    const inputs = new TappedInputs(work.options.backend, need, (weight) => this.steps.columns(weight));
    const layer = await work.open({ tap: inputs.tap });
    try {
      const look = (batch: TokenBatch, index: number) => {
        inputs.mask = batch.mask;
        run(layer, batch, index);
      };
      yield* work.eachBatch(part === "attention" ? "attention" : "steps", look, work.options.batches);
    } finally {
      layer.dispose();
    }
    return inputs.sums;
  }

  private async *keep(experts: ReducedExperts | undefined): AsyncGenerator<CompressEvent, void> {
    const { work } = this;
    const change = yield* relay<CompressEvent, LayerChange>((emit) =>
      this.steps.finish(experts, (done, total) => {
        work.options.signal?.throwIfAborted();
        emit(work.progress("steps", (done / total) * work.tokens));
      }),
    );
    yield { type: "steps", ...change };
  }
}

/** Dtypes of some experts' matrices, as they are read. */
async function dtypesOf({ read }: StoredExperts, some: readonly number[]) {
  const dtypes: Partial<Record<ExpertPart, DType>>[] = [];
  for (const expert of some) {
    const { gate, up, down } = await read(expert);
    dtypes.push({ ...(gate && { gate: gate.dtype }), up: up.dtype, down: down.dtype });
  }
  return dtypes;
}
