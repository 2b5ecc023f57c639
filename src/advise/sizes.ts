import type { Checkpoint } from "../checkpoint/checkpoint.js";
import type { WeightStorage } from "../checkpoint/quantised/weight-format.js";
import { tensorBytes } from "../checkpoint/safetensors-encode.js";
import type { DType, StoredDType } from "../checkpoint/tensor.js";
import { isMoe, type ModelDescription } from "../model/description.js";
import { type LinearPart, linearWeights } from "../model/linear-weights.js";
import { outputTensors } from "../pipeline/output-layout.js";

/** What sizes need to know of a weight format. */
export type FormatLayout = Pick<WeightStorage, "stored" | "refusal">;

/** Size of a checkpoint in bytes of tensors. */
export interface CheckpointSize {
  readonly bytes: number;
  /** Matrices that the format cannot store and that stay as they are, with the format's reason. */
  readonly plain: readonly { readonly part: LinearPart; readonly matrices: number; readonly reason: string }[];
}

/** Matrices of one shape, dtype and part. */
interface Matrices {
  readonly part: LinearPart;
  readonly dtype: StoredDType;
  readonly shape: readonly [number, number];
  count: number;
}

/**
 * Exact sizes of a model with fewer experts: its tensors are laid out as `ream compress` writes them, and of a format the
 * parts that it stores each matrix as. Matrices of one shape are counted together. Headers of files are not in it; they take some hundred bytes a tensor.
 */
export class CheckpointSizes {
  private readonly known = new Map<number, number>();

  constructor(
    private readonly checkpoint: Checkpoint,
    private readonly model: ModelDescription,
  ) {}

  /** With `experts` kept in each layer, and the linear weights of the layers in a format, or as they are without one. */
  of(experts: number, format: FormatLayout | undefined): CheckpointSize {
    const bytes = this.laidOut(experts);
    if (format === undefined) return { bytes, plain: [] };
    const matrices = this.matrices(experts);
    let total = bytes;
    const plain = new Map<string, CheckpointSize["plain"][number]>();
    // Routed experts are quantised whole or not at all (pipeline/steps/step-plan.ts).
    const ofExperts = matrices
      .filter(({ part }) => part === "experts")
      .map(({ shape }) => format.refusal(shape))
      .find((reason) => reason !== undefined);
    for (const { part, dtype, shape, count } of matrices) {
      const reason = part === "experts" ? ofExperts : format.refusal(shape);
      if (reason === undefined) {
        const parts = format.stored(shape, this.floats as DType);
        const stored = parts.reduce((sum, tensor) => sum + tensorBytes(tensor), 0);
        total += count * (stored - tensorBytes({ dtype, shape }));
      } else {
        const key = `${part} ${reason}`;
        plain.set(key, { part, reason, matrices: (plain.get(key)?.matrices ?? 0) + count });
      }
    }
    return { bytes: total, plain: [...plain.values()] };
  }

  /** Dtype of the routed experts of a model that is not quantised, which scales are stored in. */
  private get floats(): StoredDType {
    const { experts } = this.model.layers.find(isMoe)!.feedForward;
    return this.checkpoint.info(experts.names[0]!).dtype;
  }

  private laidOut(experts: number): number {
    const before = this.known.get(experts);
    if (before !== undefined) return before;
    const tensors = outputTensors(this.checkpoint, this.model, experts, undefined);
    const bytes = tensors.reduce((sum, tensor) => sum + tensorBytes(tensor), 0);
    this.known.set(experts, bytes);
    return bytes;
  }

  private matrices(experts: number): readonly Matrices[] {
    const { floats } = this;
    const matrices = new Map<string, Matrices>();
    for (const { part, name, shape, expert = 0 } of this.model.layers.flatMap(linearWeights)) {
      if (expert >= experts) continue;
      // Experts in one tensor have that tensor's dtype, which is no tensor of their own name.
      const dtype = this.checkpoint.tensors.get(name)?.dtype ?? floats;
      const key = `${part} ${dtype} ${shape.join()}`;
      const same = matrices.get(key);
      if (same === undefined) matrices.set(key, { part, dtype, shape, count: 1 });
      else same.count += 1;
    }
    return [...matrices.values()];
  }
}
