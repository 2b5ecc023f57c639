import type { LayerPlan } from "../compress/plan.js";
import type { SamplingError } from "../compress/sampling-error.js";
import type { LayerRefit } from "./reconstruct/refit-files.js";
import type { LayerRequantised } from "./requantise.js";
import type { LayerRouter } from "./router/router-files.js";
import type { LayerChange } from "./steps/layer-steps.js";

export type Phase =
  | "load"
  | "attention"
  | "observe"
  | "plan"
  | "router"
  | "reconstruct"
  | "steps"
  | "merge"
  | "forward";

/** What a long run tells while it works. Terminal, `--events`, report and tests are all just listeners. */
export type CompressEvent =
  | {
      readonly type: "start";
      readonly model: string;
      readonly family: string;
      readonly layers: number;
      readonly experts: { readonly before: number; readonly after: number };
      readonly tokens: number;
      readonly sequences: number;
      readonly length: number;
      readonly method: string;
      /** What is done to single matrices afterwards. */
      readonly steps: readonly string[];
      readonly backend: string;
      readonly precision: string;
      /** Layers whose plans were found from an earlier, interrupted run. */
      readonly resumed: number;
    }
  | { readonly type: "note"; readonly message: string }
  | {
      readonly type: "progress";
      readonly layer: number;
      readonly layers: number;
      readonly phase: Phase;
      /** Tokens done and to do in this phase; absent where a phase has no tokens. */
      readonly tokens?: { readonly done: number; readonly total: number };
      /** Share of the whole run that is done, 0 to 1. */
      readonly share: number;
      /** Resident memory of the process in bytes. */
      readonly memory: number;
    }
  | { readonly type: "layer"; readonly plan: LayerPlan; readonly seconds: number }
  /** The router of a layer fitted. */
  | ({ readonly type: "router" } & LayerRouter)
  /** The kept experts of a layer refitted. */
  | ({ readonly type: "reconstruct" } & LayerRefit)
  /** A layer's groups were made from a sample of tokens. */
  | ({ readonly type: "sampling"; readonly layer: number } & SamplingError)
  /** The matrices of a layer after its experts: pruned, quantised. */
  | ({ readonly type: "steps" } & LayerChange)
  /** The merged experts of a layer of a quantised source have been rounded to its form again. */
  | ({ readonly type: "requantised" } & LayerRequantised)
  | {
      readonly type: "shard";
      readonly file: string;
      /** Bytes of tensors written so far, and in all. */
      readonly done: number;
      readonly total: number;
    };
