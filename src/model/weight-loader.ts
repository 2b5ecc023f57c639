import type { Checkpoint } from "../checkpoint/checkpoint.js";
import { decode } from "../checkpoint/dtypes.js";
import type { Tensor } from "../checkpoint/tensor.js";
import { pickRanges } from "../checkpoint/tensor-rows.js";
import type { Backend, Matrix } from "../engine/backend.js";
import type { Norm, Projection } from "./description.js";
import type { MoeTensors, RoutedNorms } from "./moe.js";
import { readWeight } from "./read-weight.js";

/** A loaded projection or norm: x `[tokens, in]` -> `[tokens, out]`. */
export type Operation = (x: Float32Array) => Float32Array;

/** What is done to weights and their inputs on the way. */
export interface WeightChanges {
  /** Weights that stand in for the checkpoint's, by name. */
  readonly replaced?: ReadonlyMap<string, Tensor> | undefined;
  /** Told the inputs `[tokens, in]` of projections, with the weight's name, before each product. */
  readonly tap?: ((weight: string, x: Float32Array) => void) | undefined;
  /** Experts and router of a mixture of attention that stand in for the checkpoint's. */
  readonly attention?: MoeTensors | undefined;
  /** Told what such a mixture makes of x `[tokens, hidden]`. */
  readonly attentionTap?: ((x: Float32Array, routed: RoutedNorms) => void) | undefined;
}

/** Reads weights, makes them ready for products, and remembers what has to be freed. */
export class WeightLoader {
  private readonly matrices: Matrix[] = [];
  /** The tensor that was read last: projections that are parts of one follow each other. */
  private last: { readonly name: string; readonly tensor: Tensor } | undefined;

  constructor(
    readonly checkpoint: Checkpoint,
    readonly backend: Backend,
    readonly changes: WeightChanges = {},
  ) {}

  async projection(projection: Projection): Promise<Operation> {
    const { weight, bias, rows } = projection;
    const picked = (tensor: Tensor) => (rows === undefined ? tensor : pickRanges(tensor, rows));
    const added = bias === undefined ? undefined : decode(picked(await this.checkpoint.read(bias)));
    const matrix = this.matrix(picked(await this.weight(weight)));
    const { tap } = this.changes;
    if (tap === undefined) return (x) => this.backend.linear(x, matrix, added);
    return (x) => {
      tap(weight, x);
      return this.backend.linear(x, matrix, added);
    };
  }

  async norm({ kind, weight, bias, size, epsilon, plusOne, factor = 1 }: Norm): Promise<Operation> {
    const stored = weight === undefined ? new Float32Array(size).fill(1) : await this.vector(weight);
    const factors = stored.map((value) => (plusOne ? value + 1 : value) * factor);
    if (kind === "rms") return (x) => this.backend.rmsNorm(x, factors, epsilon);
    const added = bias === undefined ? undefined : await this.vector(bias);
    return (x) => this.backend.layerNorm(x, factors, added, epsilon);
  }

  /** The operation of a part that may be absent: then x itself. */
  async optionalNorm(norm: Norm | undefined): Promise<Operation> {
    return norm === undefined ? (x) => x : this.norm(norm);
  }

  /** As `optionalNorm`, of a part that may also be a projection. */
  async optional(part: Norm | Projection | undefined): Promise<Operation> {
    return part !== undefined && !("kind" in part) ? this.projection(part) : this.optionalNorm(part);
  }

  /** A weight as stored, or decoded where it is quantised; or what stands in for it. */
  async weight(name: string): Promise<Tensor> {
    const replaced = this.changes.replaced?.get(name);
    if (replaced !== undefined) return replaced;
    if (this.last?.name !== name)
      this.last = { name, tensor: await readWeight(this.checkpoint, name, undefined, this.backend) };
    return this.last.tensor;
  }

  /** All values of a small tensor. */
  async vector(name: string): Promise<Float32Array> {
    return decode(await this.checkpoint.read(name));
  }

  matrix(weight: Tensor): Matrix {
    const matrix = this.backend.matrix(weight);
    this.matrices.push(matrix);
    return matrix;
  }

  /** Forgets what was only needed for loading. */
  done(): void {
    this.last = undefined;
  }

  dispose(): void {
    for (const matrix of this.matrices.splice(0)) matrix.dispose();
  }
}
