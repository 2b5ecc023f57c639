import type { Checkpoint } from "../checkpoint/checkpoint.js";
import { tensorBytes } from "../checkpoint/safetensors-encode.js";
import type { DType, StoredDType } from "../checkpoint/tensor.js";
import { ReamError } from "../errors.js";
import { isMoe, type LayerDescription, type ModelDescription } from "../model/description.js";
import { type LinearPart, type LinearWeight, linearWeights } from "../model/linear-weights.js";
import { outputTensors } from "../pipeline/output-layout.js";

/** What sizes need to know of a weight format. */
export interface FormatLayout {
  stored(
    shape: readonly [number, number],
    scaleDtype: DType,
  ): readonly { readonly dtype: StoredDType; readonly shape: readonly number[] }[];
  /** Why a matrix cannot be stored so; undefined where it can. */
  refusal(shape: readonly [number, number]): string | undefined;
}

/** Size of a checkpoint in bytes of tensors. */
export interface CheckpointSize {
  readonly bytes: number;
  /** Matrices that the format cannot store and that stay as they are, with the format's reason. */
  readonly plain: readonly { readonly part: LinearPart; readonly matrices: number; readonly reason: string }[];
}

/** Matrices of one shape, dtype and part. */
interface Matrices {
  readonly part: LinearPart;
  readonly dtype: DType;
  readonly shape: readonly [number, number];
  count: number;
}

/**
 * Exact sizes of a model with fewer experts: its tensors are laid out as `ream compress` writes them, and of a format the
 * parts that it stores each matrix as. Headers of files are not counted; they take some hundred bytes a tensor.
 */
export class CheckpointSizes {
  private readonly known = new Map<number, { readonly bytes: number; readonly matrices: readonly Matrices[] }>();

  constructor(
    private readonly checkpoint: Checkpoint,
    private readonly model: ModelDescription,
  ) {}

  /** With `experts` kept in each layer, and the linear weights of the layers in a format, or as they are without one. */
  of(experts: number, format: FormatLayout | undefined): CheckpointSize {
    const { bytes, matrices } = this.laidOut(experts);
    if (format === undefined) return { bytes, plain: [] };
    let total = bytes;
    const plain = new Map<string, CheckpointSize["plain"][number]>();
    for (const { part, dtype, shape, count } of matrices) {
      const reason = format.refusal(shape);
      if (reason === undefined) {
        const stored = format.stored(shape, dtype).reduce((sum, tensor) => sum + tensorBytes(tensor), 0);
        total += count * (stored - tensorBytes({ dtype, shape }));
      } else {
        const key = `${part} ${reason}`;
        plain.set(key, { part, reason, matrices: (plain.get(key)?.matrices ?? 0) + count });
      }
    }
    return { bytes: total, plain: [...plain.values()] };
  }

  private laidOut(experts: number) {
    const before = this.known.get(experts);
    if (before !== undefined) return before;
    const tensors = outputTensors(this.checkpoint, this.model, experts, undefined);
    const matrices = new Map<string, Matrices>();
    for (const layer of this.model.layers) {
      for (const weight of linearWeights(layer)) {
        if (weight.expert !== undefined && weight.expert >= experts) continue;
        const dtype = this.dtypeOf(weight, layer);
        const key = `${weight.part} ${dtype} ${weight.shape.join()}`;
        const same = matrices.get(key);
        if (same === undefined) matrices.set(key, { part: weight.part, dtype, shape: weight.shape, count: 1 });
        else same.count += 1;
      }
    }
    const bytes = tensors.reduce((sum, tensor) => sum + tensorBytes(tensor), 0);
    const laid = { bytes, matrices: [...matrices.values()] };
    this.known.set(experts, laid);
    return laid;
  }

  /** The dtype that a matrix is stored in: experts in one tensor have that of the tensor. */
  private dtypeOf({ name, matrix }: LinearWeight, layer: LayerDescription): DType {
    const own = this.checkpoint.tensors.get(name);
    if (own !== undefined) return float(own.dtype, name);
    if (!isMoe(layer)) throw new TypeError(`${name} is no tensor`);
    const { experts } = layer.feedForward;
    const numbers = experts.width * experts.hidden * (matrix === "down" ? 1 : 2);
    const holder = experts
      .outputs(1)
      .find(({ shape }) => shape.length === 3 && shape.reduce((product, size) => product * size, 1) === numbers);
    if (holder === undefined) throw new TypeError(`no tensor holds ${name}`);
    return float(this.checkpoint.info(holder.source).dtype, holder.source);
  }
}

function float(dtype: StoredDType, name: string): DType {
  if (dtype === "BF16" || dtype === "F16" || dtype === "F32" || dtype === "F64") return dtype;
  throw new ReamError("TENSOR_DTYPE", `${JSON.stringify(name)} is ${dtype}, expected floats`, {
    hint: "Use the unquantised (bfloat16) checkpoint of the same model.",
  });
}
