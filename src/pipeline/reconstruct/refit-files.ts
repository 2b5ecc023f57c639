import type { Tensor } from "../../checkpoint/tensor.js";
import type { RefitErrors } from "../../compress/reconstruct/residuals.js";
import type { ExpertTensors } from "../../engine/backend.js";
import type { LayerFiles } from "../layer-files.js";
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
  constructor(private readonly files: LayerFiles<LayerRefit>) {}

  /** Whether a layer is finished. */
  has(layer: number): Promise<boolean> {
    return this.files.has(layer);
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
      await this.files.write(refit.layer, tensors);
    }
    await this.files.finish(refit);
  }

  /** What was done to a finished layer. */
  report(layer: number): Promise<LayerRefit> {
    return this.files.report(layer);
  }

  /** The expert of a slot with what was refitted. */
  async expert(layer: number, slot: number, reduced: ExpertTensors): Promise<ExpertTensors> {
    if (!(await this.report(layer)).kept) return reduced;
    const file = await this.files.tensors(layer);
    const down = await file.read(`${slot}.down`);
    if (reduced.downBias === undefined) return { ...reduced, down };
    return { ...reduced, down, downBias: await file.read(`${slot}.downBias`) };
  }

  close(): Promise<void> {
    return this.files.close();
  }
}
