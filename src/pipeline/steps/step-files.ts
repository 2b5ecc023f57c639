import type { QuantisedWeight, WeightFormat } from "../../checkpoint/quantised/weight-format.js";
import type { DType, StoredDType, Tensor } from "../../checkpoint/tensor.js";
import type { Backend } from "../../engine/backend.js";
import type { LinearWeight } from "../../model/linear-weights.js";
import type { LayerFiles } from "../layer-files.js";
import type { LayerChange } from "./layer-steps.js";

/** A tensor that a matrix is kept as. */
interface Part {
  readonly suffix: string;
  readonly dtype: StoredDType;
  readonly shape: readonly number[];
}

/** The matrices that the steps have made of a layer's, kept on the disk. */
export class StepFiles {
  /** @param format of the matrices; undefined: they are floats */
  constructor(
    private readonly files: LayerFiles<LayerChange>,
    private readonly format: WeightFormat | undefined,
    private readonly scaleDtype: DType,
    private readonly backend: Backend,
  ) {}

  /** Whether a layer's matrices are kept. */
  has(layer: number): Promise<boolean> {
    return this.files.has(layer);
  }

  /** Says that all matrices of a layer are kept, and what was changed in them. */
  finish(change: LayerChange): Promise<void> {
    return this.files.finish(change);
  }

  /** What was changed in a layer. */
  change(layer: number): Promise<LayerChange> {
    return this.files.report(layer);
  }

  /**
   * Keeps the matrices of a layer. `make` is asked for them one after the other, in the given order.
   *
   * @param dtype of a matrix that is kept as floats
   */
  async write(
    layer: number,
    weights: readonly LinearWeight[],
    dtype: (weight: LinearWeight) => DType,
    make: (weight: LinearWeight) => Promise<QuantisedWeight>,
  ): Promise<void> {
    let last: { readonly name: string; readonly made: QuantisedWeight } | undefined;
    const tensors = weights.flatMap((weight) =>
      this.parts(weight.shape, dtype(weight)).map((part) => ({
        ...part,
        name: partName(weight.name, part.suffix),
        data: async () => {
          if (last?.name !== weight.name) last = { name: weight.name, made: await make(weight) };
          return last.made.get(part.suffix)!.data;
        },
      })),
    );
    await this.files.write(layer, tensors);
  }

  /** A matrix as it is kept. */
  async read(layer: number, { name }: Pick<LinearWeight, "name">): Promise<QuantisedWeight> {
    const file = await this.files.tensors(layer);
    const suffixes =
      this.format === undefined ? ["weight"] : this.format.stored([1, 1], this.scaleDtype).map(({ suffix }) => suffix);
    const parts = await Promise.all(
      suffixes.map(async (suffix) => [suffix, await file.read(partName(name, suffix))] as const),
    );
    return new Map(parts);
  }

  /** A matrix as later layers see it. */
  async values(layer: number, weight: LinearWeight): Promise<Tensor> {
    const stored = await this.read(layer, weight);
    return this.format === undefined
      ? stored.get("weight")!
      : this.format.decode(stored, weight.shape, 0, this.backend);
  }

  close(): Promise<void> {
    return this.files.close();
  }

  private parts(shape: readonly [number, number], dtype: DType): readonly Part[] {
    return this.format === undefined
      ? [{ suffix: "weight", dtype, shape }]
      : this.format.stored(shape, this.scaleDtype);
  }
}

function partName(name: string, suffix: string): string {
  return `${name}#${suffix}`;
}
