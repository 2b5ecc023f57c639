import type { Checkpoint } from "../../checkpoint/checkpoint.js";
import type { QuantisedWeight } from "../../checkpoint/quantised/weight-format.js";
import type { DType, Tensor } from "../../checkpoint/tensor.js";
import { applySteps, type SteppedMatrix } from "../../compress/steps/apply.js";
import type { InputSums } from "../../compress/steps/input-sums.js";
import { addErrors, type StepError } from "../../compress/steps/step-error.js";
import type { Backend, ExpertTensors } from "../../engine/backend.js";
import type { LayerDescription, MoeLayer } from "../../model/description.js";
import type { ExpertPart } from "../../model/expert-storage.js";
import type { LinearPart, LinearWeight } from "../../model/linear-weights.js";
import { readWeight } from "../../model/read-weight.js";
import { type ExpertInputs, ExpertSteps } from "./expert-steps.js";
import type { StepFiles } from "./step-files.js";
import { type StepPlan, steppedWeights } from "./step-plan.js";

/** What the steps of a compression need in every layer. */
export interface StepWork {
  readonly plan: StepPlan;
  readonly files: StepFiles;
  /** Dtype of the model's floats. */
  readonly scaleDtype: DType;
  /** Experts that each layer keeps. */
  readonly kept: number;
}

/** The routed experts of a layer after they have been reduced, before the steps. */
export interface ReducedExperts {
  read(slot: number): Promise<ExpertTensors>;
  /** Dtype of an expert's matrix. */
  dtype(slot: number, matrix: ExpertPart): DType;
  /** Where the steps look at inputs. */
  readonly inputs: ExpertInputs | undefined;
}

/** What the steps changed in a layer. */
export interface LayerChange {
  readonly layer: number;
  readonly matrices: number;
  /** Matrices whose inputs were too few to be looked at. */
  readonly fellBack: number;
  readonly error: StepError;
}

/** Does the steps to the matrices of one layer, part after part, and keeps the results on the disk. */
export class LayerSteps {
  /** The matrices outside the routed experts that are done, as later layers see them. */
  readonly replaced = new Map<string, Tensor>();
  private readonly made = new Map<string, QuantisedWeight>();
  private readonly weights: readonly LinearWeight[];
  private matrices = 0;
  private fellBack = 0;
  private error: StepError | undefined;

  constructor(
    private readonly checkpoint: Checkpoint,
    private readonly backend: Backend,
    private readonly work: StepWork,
    readonly layer: LayerDescription,
  ) {
    this.weights = steppedWeights(layer, work.kept, work.plan);
  }

  /** Whether an earlier run has kept this layer's results. */
  get done(): Promise<boolean> {
    return this.work.files.has(this.layer.index);
  }

  /** Whether any matrix is changed. */
  get changes(): boolean {
    return this.weights.length > 0;
  }

  /** Whether matrices of a part are changed. */
  has(part: LinearPart): boolean {
    return this.weights.some((weight) => weight.part === part);
  }

  /** Takes the results that an earlier run kept. */
  async restore(): Promise<void> {
    for (const weight of this.weights) {
      if (weight.expert === undefined)
        this.replaced.set(weight.name, await this.work.files.values(this.layer.index, weight));
    }
  }

  /** Does the steps to matrices outside the routed experts. `inputs`: sums by name, where the steps need them. */
  async change(parts: readonly LinearPart[], inputs: ReadonlyMap<string, InputSums>): Promise<void> {
    for (const wanted of parts) {
      const weights = this.weights.filter(({ part }) => part === wanted);
      const read = await Promise.all(weights.map(({ name }) => readWeight(this.checkpoint, name)));
      for (const [i, { name, shape }] of weights.entries()) {
        // What has as many columns may have the same inputs, as query, key and value or gate and up have.
        const joined = read.filter((_, other) => weights[other]!.shape[1] === shape[1]);
        const { stored, values } = this.step(read[i]!, inputs.get(name), joined);
        this.made.set(name, stored);
        this.replaced.set(name, values);
      }
    }
    for (const sums of inputs.values()) sums.dispose();
  }

  /** Columns of a matrix outside the routed experts that is changed. */
  columns(name: string): number | undefined {
    return this.weights.find((weight) => weight.expert === undefined && weight.name === name)?.shape[1];
  }

  /** Does the steps to the routed experts, which a dense layer has none of, and keeps everything. */
  async finish(
    experts: ReducedExperts | undefined,
    onMatrix: (done: number, total: number) => void,
  ): Promise<LayerChange> {
    const { plan, files } = this.work;
    const { feedForward: moe } = this.layer;
    const routed =
      experts !== undefined && moe.kind === "moe"
        ? new ExpertSteps({
            ...{ backend: this.backend, moe, need: plan.need, expert: experts.read, inputs: experts.inputs },
            step: (tensor, sums, joined) => this.step(tensor, sums, joined),
          })
        : undefined;
    const dtype = ({ name, expert, matrix }: LinearWeight) =>
      expert === undefined ? this.replaced.get(name)!.dtype : experts!.dtype(expert, matrix!);
    let done = 0;
    try {
      await files.write(this.layer.index, this.weights, dtype, async (weight) => {
        const stored = this.made.get(weight.name) ?? (await routed!.make(weight)).stored;
        this.made.delete(weight.name);
        onMatrix(++done, this.weights.length);
        return stored;
      });
    } finally {
      routed?.dispose();
    }
    const { matrices, fellBack } = this;
    const change = { layer: this.layer.index, matrices, fellBack, error: this.error! };
    await files.finish(change);
    return change;
  }

  /** The expert of a slot as later layers see it. */
  async expertValues(layer: MoeLayer, slot: number, reduced: ExpertTensors): Promise<ExpertTensors> {
    return steppedExpert(this.work.files, this.weights, layer, slot, reduced);
  }

  private step(tensor: Tensor, inputs: InputSums | undefined, joined: readonly Tensor[]): SteppedMatrix {
    const { plan, scaleDtype } = this.work;
    const stepped = applySteps(this.backend, plan.steps, tensor, inputs, { ...plan, scaleDtype, joined });
    this.matrices++;
    if (stepped.fellBack) this.fellBack++;
    this.error = this.error === undefined ? stepped.error : addErrors(this.error, stepped.error);
    return stepped;
  }
}

/** An expert with the matrices that the steps made of its own, as kept on the disk. */
export async function steppedExpert(
  files: StepFiles,
  weights: readonly LinearWeight[],
  layer: MoeLayer,
  slot: number,
  reduced: ExpertTensors,
): Promise<ExpertTensors> {
  const own = weights.filter(({ expert }) => expert === slot);
  const changed = await Promise.all(
    own.map(async (weight) => [weight.matrix!, await files.values(layer.index, weight)] as const),
  );
  return { ...reduced, ...Object.fromEntries(changed) };
}
