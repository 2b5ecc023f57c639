import type { Tensor } from "../../checkpoint/tensor.js";
import type { RefitErrors } from "../../compress/reconstruct/residuals.js";
import type { RouterTensors } from "../../model/moe.js";
import type { RouterPart } from "../../model/router.js";
import { FinishedLayers } from "../layer-files.js";

/** What a fit changes of a router; rows are those of the kept experts. */
export type RouterParts = Pick<RouterTensors, RouterPart>;

const PARTS = ["router", "routerBias", "selectionBias"] as const satisfies readonly RouterPart[];

/** Held-out errors of a block. */
export type BlockErrors = Pick<RefitErrors, "heldOut" | "domains">;

/** What a fit did to a layer's router. */
export interface LayerRouter {
  readonly layer: number;
  /** Whether its router is another one now. */
  readonly kept: boolean;
  /** Absent where there was nothing to follow: no group has more than one expert. */
  readonly fit?: {
    /** Steps up to the rows that were best on held-out tokens; where nothing is kept 0. */
    readonly steps: number;
    /** Whether selection biases are other ones too. */
    readonly biases: boolean;
    readonly tokens: { readonly fitted: number; readonly heldOut: number };
    readonly before: BlockErrors;
    readonly after: BlockErrors;
  };
}

/** The fitted routers of finished layers, kept on the disk until the output is written. */
export class RouterFiles extends FinishedLayers<LayerRouter> {
  /** Keeps a layer. @param parts of a router whose fit is kept */
  async write(report: LayerRouter, parts: RouterParts): Promise<void> {
    if (report.kept) {
      const tensors = PARTS.flatMap((name) => {
        const tensor: Tensor | undefined = parts[name];
        return tensor === undefined ? [] : [{ ...tensor, name, data: async () => tensor.data }];
      });
      await this.files.write(report.layer, tensors);
    }
    await this.files.finish(report);
  }

  /** A part of a finished layer's router; as it was where nothing was fitted. */
  async part(layer: number, name: RouterPart, picked: Tensor): Promise<Tensor> {
    if (!(await this.report(layer)).kept) return picked;
    return (await this.files.tensors(layer)).read(name);
  }

  /** A finished layer's router. */
  async router<R extends RouterParts>(layer: number, picked: R): Promise<R> {
    const changed: Partial<Record<RouterPart, Tensor>> = {};
    for (const name of PARTS) {
      const tensor: Tensor | undefined = picked[name];
      if (tensor !== undefined) changed[name] = await this.part(layer, name, tensor);
    }
    return { ...picked, ...changed };
  }
}
