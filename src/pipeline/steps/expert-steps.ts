import type { Tensor } from "../../checkpoint/tensor.js";
import type { SteppedMatrix } from "../../compress/steps/apply.js";
import { InputSums } from "../../compress/steps/input-sums.js";
import type { Need } from "../../compress/steps/step.js";
import type { Backend, ExpertTensors } from "../../engine/backend.js";
import type { MoeDescription } from "../../model/description.js";
import type { LinearWeight } from "../../model/linear-weights.js";
import type { RoutedRows } from "./routed-rows.js";

/** The calibration tokens of a layer, as its routed experts meet them. */
export interface ExpertInputs {
  readonly rows: RoutedRows;
  /** Hidden states after the mixer `[tokens, hidden]` -> the experts' input. */
  readonly expertInput: (hidden: Float32Array) => Float32Array;
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
  private current:
    | {
        readonly slot: number;
        tensors: ExpertTensors;
        readonly outer: InputSums | undefined;
        readonly joined: readonly Tensor[];
      }
    | undefined;

  constructor(private readonly options: ExpertStepsOptions) {}

  /** An expert's matrix after the steps. Those of an expert have to be asked for in the order gate, up, down. */
  async make(weight: LinearWeight): Promise<SteppedMatrix> {
    const { step, expert } = this.options;
    const slot = weight.expert!;
    const matrix = weight.matrix!;
    if (this.current?.slot !== slot) {
      this.dispose();
      const tensors = await expert(slot);
      this.current = {
        slot,
        tensors,
        outer: this.outerInputs(slot),
        joined: [...(tensors.gate === undefined ? [] : [tensors.gate]), tensors.up],
      };
    }
    const { tensors, outer } = this.current;
    const inputs = matrix === "down" ? this.activations(slot, tensors) : outer;
    const joined = matrix === "down" ? [tensors.down] : this.current.joined;
    const stepped = step(tensors[matrix]!, inputs, joined);
    if (matrix === "down") inputs?.dispose();
    this.current.tensors = { ...tensors, [matrix]: stepped.values };
    return stepped;
  }

  dispose(): void {
    this.current?.outer?.dispose();
    this.current = undefined;
  }

  /** Sums over what gate and up are multiplied with. */
  private outerInputs(slot: number): InputSums | undefined {
    const { backend, need, moe, inputs } = this.options;
    if (inputs === undefined) return undefined;
    const sums = new InputSums(backend, moe.experts.hidden, need);
    for (const x of this.chunks(slot, inputs)) sums.add(x);
    return sums;
  }

  /** Sums over what down is multiplied with, by the gate and up that the expert has now. */
  private activations(slot: number, tensors: ExpertTensors): InputSums | undefined {
    const { backend, need, moe, inputs } = this.options;
    if (inputs === undefined) return undefined;
    const sums = new InputSums(backend, moe.experts.width, need);
    const ready = backend.experts([tensors], moe.activation);
    try {
      for (const x of this.chunks(slot, inputs)) sums.add(backend.expertActivation(x, ready, 0));
    } finally {
      ready.dispose();
    }
    return sums;
  }

  private *chunks(slot: number, { rows, expertInput }: ExpertInputs): Generator<Float32Array> {
    const { hidden: size } = this.options.moe.experts;
    for (const { hidden, weights } of rows.of(slot)) {
      const x = expertInput(hidden);
      if (this.options.moe.router.scalesInputs === true) {
        for (const [token, weight] of weights.entries()) {
          for (let i = token * size; i < (token + 1) * size; i++) x[i]! *= weight;
        }
      }
      yield x;
    }
  }
}
