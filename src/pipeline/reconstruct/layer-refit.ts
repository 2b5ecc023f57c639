import type { DType } from "../../checkpoint/tensor.js";
import { isMerged, type LayerPlan } from "../../compress/plan.js";
import { importanceOf } from "../../compress/reconstruct/importance.js";
import { refit } from "../../compress/reconstruct/refit.js";
import { Residuals } from "../../compress/reconstruct/residuals.js";
import { splitTokens, type TokenSplit } from "../../compress/reconstruct/split.js";
import type { Backend, ExpertTensors } from "../../engine/backend.js";
import { ReamError } from "../../errors.js";
import type { MoeDescription } from "../../model/description.js";
import type { MoeInput, TokenBatch } from "../../model/layer.js";
import { type RouterWeights, route } from "../../model/router.js";
import { RoutedRows } from "../steps/routed-rows.js";
import type { RefitWork } from "./open-refit.js";
import { RefitExperts, type RefittedParts } from "./refit-experts.js";
import type { LayerRefit } from "./refit-files.js";
import { defaultTokens, ridgesOf } from "./refit-plan.js";

/** Most sweeps at one strength of the ridge. */
const SWEEPS = 20;

/** The layer as it is reduced. */
export interface ReducedLayer {
  readonly router: RouterWeights;
  readonly experts: readonly ExpertTensors[];
  /** Dtype of refitted weights; undefined: that of the expert's. */
  readonly dtype: DType | undefined;
  readonly moeInput: (hidden: Float32Array) => MoeInput;
}

/**
 * Refits the experts of one layer, so that the reduced block makes of the layer's inputs what the original block makes of
 * them. Shared experts are in both and cancel.
 *
 * Errors of tokens count relative to the hidden state that the output is added to: what comes after sees hidden states
 * through a norm, so that what is lost where they are large is lost on little, and single tokens with outputs a thousand
 * times those of others would be all that is fitted.
 */
export class LayerRefitter {
  private readonly split: TokenSplit;
  private readonly targets: Float32Array;
  private readonly importance: Float32Array;
  /** Of what the routed experts make; hidden states may be of another size (latent experts of Nemotron-H). */
  private readonly size: number;

  constructor(
    private readonly backend: Backend,
    private readonly work: RefitWork,
    private readonly layer: number,
    private readonly moe: MoeDescription,
    batches: readonly TokenBatch[],
  ) {
    const { tokens = defaultTokens(moe), seed } = work.plan;
    this.size = moe.experts.hidden;
    this.split = splitTokens(batches, tokens, seed);
    if (this.split.heldOut.length === 0) {
      throw new ReamError("RECONSTRUCT_TOKENS", "one sequence of calibration text is too few to reconstruct layers", {
        where: "--reconstruct",
        hint: "Give more text: some sequences are held out, to tell which weights are better.",
      });
    }
    this.targets = new Float32Array(this.split.rows * this.size);
    this.importance = new Float32Array(this.split.rows);
  }

  /** Whether a batch has tokens that take part. */
  uses(batch: number): boolean {
    return this.split.rowOf[batch]!.some((row) => row >= 0);
  }

  /** Takes what the original block makes of a batch `[tokens, hidden]`, of hidden states after the mixer. */
  observe(batch: number, mixed: Float32Array, output: Float32Array): void {
    const { size, split, targets, importance } = this;
    const hidden = this.hiddenSize(batch, mixed);
    for (const [token, row] of split.rowOf[batch]!.entries()) {
      if (row < 0) continue;
      importance[row] = importanceOf(mixed.subarray(token * hidden, (token + 1) * hidden));
      for (let i = 0; i < size; i++) targets[row * size + i] = importance[row]! * output[token * size + i]!;
    }
  }

  private hiddenSize(batch: number, hidden: Float32Array): number {
    return hidden.length / this.split.rowOf[batch]!.length;
  }

  /**
   * Refits the reduced layer and keeps what came of it. Everything has been observed; the targets are used up.
   *
   * @param hidden hidden states after the mixer, of each batch
   */
  async run(
    { keptExperts, groups }: LayerPlan,
    hidden: readonly Float32Array[],
    { router, experts, dtype, moeInput }: ReducedLayer,
    pause: (share: number) => Promise<void>,
  ): Promise<LayerRefit> {
    const { backend, moe, work, split, importance } = this;
    if (keptExperts.length === moe.experts.count && !groups.some(isMerged)) return this.keep({ kept: false }, []);
    const size = this.hiddenSize(0, hidden[0]!);
    const routed = {
      fitted: new RoutedRows(experts.length, hidden, size),
      heldOut: new RoutedRows(experts.length, hidden, size),
    };
    for (const [batch, rowOf] of split.rowOf.entries()) {
      if (!this.uses(batch)) continue;
      const output = route(backend, moeInput(hidden[batch]!).router, router, moe.router);
      const chosen = (wanted: (row: number) => boolean) => Uint8Array.from(rowOf, (row) => (wanted(row) ? 1 : 0));
      routed.fitted.add(
        batch,
        output,
        chosen((row) => row >= 0 && row < split.fitted),
      );
      routed.heldOut.add(
        batch,
        output,
        chosen((row) => row >= split.fitted),
      );
    }
    const rowOf = concatenated(split.rowOf);
    const linear = new RefitExperts({
      ...{ backend, moe, experts, dtype, routed, importance, moeInput },
      rowOf: (token) => rowOf[token]!,
    });
    const residuals = new Residuals(this.targets, this.size, split.fitted, split.heldOut);
    const ridges = ridgesOf(work.plan);
    const { kept, ...fit } = await refit(backend, linear, residuals, {
      ...{ ridges, sweeps: SWEEPS },
      pause: (done) => pause(1 - 1 / (1 + done / 4)),
    });
    const tokens = { fitted: split.fitted, heldOut: split.rows - split.fitted };
    const parts = experts.map((_, slot) => linear.parts(slot));
    return this.keep({ kept, fit: { ...fit, tokens } }, parts);
  }

  private async keep(refit: Omit<LayerRefit, "layer">, parts: readonly RefittedParts[]): Promise<LayerRefit> {
    const report = { layer: this.layer, ...refit };
    await this.work.files.write(report, parts);
    return report;
  }
}

function concatenated(arrays: readonly Int32Array[]): Int32Array {
  const result = new Int32Array(arrays.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const array of arrays) {
    result.set(array, at);
    at += array.length;
  }
  return result;
}
