import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { QuantisedWeight, WeightFormat } from "../../checkpoint/quantised/weight-format.js";
import { SafetensorsFile } from "../../checkpoint/safetensors.js";
import type { ShardTensor } from "../../checkpoint/shard-writer.js";
import type { DType, StoredDType, Tensor } from "../../checkpoint/tensor.js";
import type { Backend } from "../../engine/backend.js";
import type { LinearWeight } from "../../model/linear-weights.js";
import type { LayerChange } from "./layer-steps.js";

/** A tensor that a matrix is kept as. */
interface Part {
  readonly suffix: string;
  readonly dtype: StoredDType;
  readonly shape: readonly number[];
}

/** Where an output keeps the matrices of finished layers until its files are written. A file is there when it is whole. */
export interface StepFolder {
  readonly folder: string;
  has(name: string): Promise<boolean>;
  /** Writes a safetensors file in the order of its tensors. */
  writeShard(name: string, tensors: readonly ShardTensor[]): Promise<void>;
  writeFile(name: string, text: string): Promise<void>;
}

/** The matrices that the steps have made of a layer's, kept on the disk. */
export class StepFiles {
  /** The file that was read last; several matrices of it are asked for at once. */
  private open: { readonly layer: number; readonly file: Promise<SafetensorsFile> } | undefined;

  /** @param format of the matrices; undefined: they are floats of the dtype that `floats` tells */
  constructor(
    private readonly where: StepFolder,
    private readonly format: WeightFormat | undefined,
    private readonly scaleDtype: DType,
    private readonly backend: Backend,
  ) {}

  /** Whether a layer's matrices are kept. */
  has(layer: number): Promise<boolean> {
    return this.where.has(changeName(layer));
  }

  /** Says that all matrices of a layer are kept, and what was changed in them. */
  async finish(change: LayerChange): Promise<void> {
    await this.where.writeFile(changeName(change.layer), JSON.stringify(change));
  }

  /** What was changed in a layer. */
  async change(layer: number): Promise<LayerChange> {
    return JSON.parse(await readFile(join(this.where.folder, changeName(layer)), "utf8"));
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
    await this.where.writeShard(fileName(layer), tensors);
  }

  /** A matrix as it is kept. */
  async read(layer: number, { name }: Pick<LinearWeight, "name">): Promise<QuantisedWeight> {
    const file = await this.fileOf(layer);
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

  async close(): Promise<void> {
    const { open } = this;
    this.open = undefined;
    await (await open?.file)?.close();
  }

  private parts(shape: readonly [number, number], dtype: DType): readonly Part[] {
    return this.format === undefined
      ? [{ suffix: "weight", dtype, shape }]
      : this.format.stored(shape, this.scaleDtype);
  }

  private async fileOf(layer: number): Promise<SafetensorsFile> {
    if (this.open?.layer === layer) return this.open.file;
    const closed = this.close();
    const file = closed.then(() => SafetensorsFile.open(join(this.where.folder, fileName(layer))));
    this.open = { layer, file };
    return file;
  }
}

function fileName(layer: number): string {
  return `layer-${layer}.safetensors`;
}

function changeName(layer: number): string {
  return `layer-${layer}.json`;
}

function partName(name: string, suffix: string): string {
  return `${name}#${suffix}`;
}
