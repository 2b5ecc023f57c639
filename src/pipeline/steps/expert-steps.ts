import type { Tensor } from "../../checkpoint/tensor.js";
import type { SteppedMatrix } from "../../compress/steps/apply.js";
import { InputSums } from "../../compress/steps/input-sums.js";
import type { Need } from "../../compress/steps/step.js";
import type { Backend, ExpertTensors } from "../../engine/backend.js";
import type { MoeDescription } from "../../model/description.js";
import type { MoeInput } from "../../model/layer.js";
import type { LinearWeight } from "../../model/linear-weights.js";
import { expertInputs, type RoutedRows } from "./routed-rows.js";

/** The calibration tokens of a layer, as its routed experts meet them. */
export interface ExpertInputs {
  readonly rows: RoutedRows;
  /** Hidden states after the mixer `[tokens, hidden]` -> the block's inputs. */
  readonly moeInput: (hidden: Float32Array) => MoeInput;
}

export interface ExpertStepsOptions {
  readonly backend: Backend;
  readonly moe: MoeDescription;
  readonly need: Need;
  /** The reduced layer's expert of a slot. */
  readonly expert: (slot: number) => Promise<ExpertTensors>;
  /** Where the steps look at inputs. */
  readonly inputs: ExpertInputs | undefined;
  /** Does the steps to a matrix. */
  readonly step: (weight: Tensor, inputs: InputSums | undefined, joined: readonly Tensor[]) => SteppedMatrix;
}

/**
 * Does the steps to one routed expert after the other: gate and up are multiplied with the inputs of its own tokens, down
 * with the activations that the gate and up that were just made give.
 */
export class ExpertSteps {
  private current: { readonly slot: number; tensors: ExpertTensors; readonly joined: readonly Tensor[] } | undefined;
  /** Sums over what gate and up are multiplied with, and down: memory that is used again for each expert. */
  private readonly outer: InputSums;
  private readonly inner: InputSums;

  constructor(private readonly options: ExpertStepsOptions) {
    const { backend, need, moe, inputs } = options;
    const wanted = inputs === undefined ? "nothing" : need;
    this.outer = new InputSums(backend, moe.experts.hidden, wanted);
    this.inner = new InputSums(backend, moe.experts.width, wanted);
  }

  /** An expert's matrix after the steps. Those of an expert have to be asked for in the order gate, up, down. */
  async make(weight: LinearWeight): Promise<SteppedMatrix> {
    const { step, expert, inputs } = this.options;
    const slot = weight.expert!;
    const matrix = weight.matrix!;
    if (this.current?.slot !== slot) {
      const tensors = await expert(slot);
      const joined = [...(tensors.gate === undefined ? [] : [tensors.gate]), tensors.up];
      this.current = { slot, tensors, joined };
      if (inputs !== undefined) this.sumInputs(slot, inputs);
    }
    const { tensors, joined } = this.current;
    const isDown = matrix === "down";
    if (isDown && inputs !== undefined) this.sumActivations(slot, tensors, inputs);
    const sums = inputs === undefined ? undefined : isDown ? this.inner : this.outer;
    const stepped = step(tensors[matrix]!, sums, isDown ? [tensors.down] : joined);
    this.current.tensors = { ...tensors, [matrix]: stepped.values };
    return stepped;
  }

  dispose(): void {
    this.outer.dispose();
    this.inner.dispose();
  }

  private sumInputs(slot: number, inputs: ExpertInputs): void {
    this.outer.reset();
    for (const x of this.chunks(slot, inputs)) this.outer.add(x);
  }

  /** By the gate and up that the expert has now. */
  private sumActivations(slot: number, tensors: ExpertTensors, inputs: ExpertInputs): void {
    const { backend, moe } = this.options;
    this.inner.reset();
    const ready = backend.experts([tensors], moe.activation);
    try {
      for (const x of this.chunks(slot, inputs)) this.inner.add(backend.expertActivation(x, ready, 0));
    } finally {
      ready.dispose();
    }
  }

  private *chunks(slot: number, { rows, moeInput }: ExpertInputs): Generator<Float32Array> {
    for (const tokens of rows.of(slot)) yield expertInputs(tokens, moeInput, this.options.moe);
  }
}
