import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { SafetensorsFile } from "../../checkpoint/safetensors.js";
import type { Tensor } from "../../checkpoint/tensor.js";
import type { RefitErrors } from "../../compress/reconstruct/residuals.js";
import type { ExpertTensors } from "../../engine/backend.js";
import type { StepFolder } from "../steps/step-files.js";
import type { RefittedParts } from "./refit-experts.js";

/** What a refit did to a layer. */
export interface LayerRefit {
  readonly layer: number;
  /** Whether its experts have other weights now. */
  readonly kept: boolean;
  /** Absent where nothing was to be made up for: every expert is as it was. */
  readonly fit?: {
    readonly ridge: number;
    readonly sweeps: number;
    readonly tokens: { readonly fitted: number; readonly heldOut: number };
    readonly before: RefitErrors;
    readonly after: RefitErrors;
  };
}

/** The refitted matrices of finished layers, kept on the disk until the output is written. */
export class RefitFiles {
  /** The file that was read last; several experts of it are asked for at once. */
  private open: { readonly layer: number; readonly file: Promise<SafetensorsFile> } | undefined;
  private readonly known = new Map<number, Promise<LayerRefit>>();

  constructor(private readonly where: StepFolder) {}

  /** Whether a layer is finished. */
  has(layer: number): Promise<boolean> {
    return this.where.has(reportName(layer));
  }

  /** Keeps a layer. @param experts of a layer whose refit is kept */
  async write(refit: LayerRefit, experts: readonly RefittedParts[]): Promise<void> {
    if (refit.kept) {
      const tensors = experts.flatMap((parts, slot) =>
        Object.entries(parts as Record<string, Tensor>).map(([part, { dtype, shape, data }]) => ({
          ...{ name: `${slot}.${part}`, dtype, shape },
          data: async () => data,
        })),
      );
      await this.where.writeShard(fileName(refit.layer), tensors);
    }
    await this.where.writeFile(reportName(refit.layer), JSON.stringify(refit));
  }

  /** What was done to a finished layer. */
  report(layer: number): Promise<LayerRefit> {
    const known = this.known.get(layer);
    if (known !== undefined) return known;
    const read = readFile(join(this.where.folder, reportName(layer)), "utf8").then((text) => JSON.parse(text));
    this.known.set(layer, read);
    return read;
  }

  /** The expert of a slot with what was refitted. */
  async expert(layer: number, slot: number, reduced: ExpertTensors): Promise<ExpertTensors> {
    if (!(await this.report(layer)).kept) return reduced;
    const file = await this.fileOf(layer);
    const down = await file.read(`${slot}.down`);
    if (reduced.downBias === undefined) return { ...reduced, down };
    return { ...reduced, down, downBias: await file.read(`${slot}.downBias`) };
  }

  async close(): Promise<void> {
    const { open } = this;
    this.open = undefined;
    await (await open?.file)?.close();
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

function reportName(layer: number): string {
  return `layer-${layer}.json`;
}
