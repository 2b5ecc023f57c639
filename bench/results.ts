import { readFileSync } from "node:fs";
import type { machine, spread } from "./run-ream.js";

export type Spread = ReturnType<typeof spread>;

/** What a script of this folder leaves. */
export interface Results<T> {
  readonly machine: ReturnType<typeof machine>;
  readonly results: readonly T[];
}

/** products-beside.ts; GFLOP/s. */
export interface ProductResult {
  readonly precision: "bf16" | "f32";
  readonly threads: number;
  readonly rows: number;
  readonly columns: number;
  readonly outputs: number;
  readonly backend: string;
  readonly ream: Spread;
  readonly peak: Spread;
  /** Of the time that passed, and of the processor's. */
  readonly shareOfPeak: { readonly wall: Spread; readonly cpu: Spread };
  readonly torch?: Spread;
  readonly ratio?: { readonly wall: Spread; readonly cpu: Spread };
}

/** forward.ts; tokens per second. */
export interface ForwardResult {
  readonly tokens: number;
  readonly threads: number;
  readonly backend: string;
  readonly ream: Spread;
  readonly reamCpu: Spread;
  readonly pytorchDtype?: string;
  readonly pytorch?: Spread;
  readonly pytorchCpu?: Spread;
}

/** layer.ts */
export interface LayerResult {
  readonly name: string;
  readonly tokens: number;
  readonly threads: number;
  readonly backend: string;
  readonly seconds: { readonly ream: Spread; readonly pytorch?: Spread };
  readonly cpu: { readonly ream: Spread; readonly pytorch?: Spread };
  readonly pytorchDtype?: string;
  readonly parts: { readonly pytorch?: { readonly seconds: Readonly<Record<string, number>> } };
  readonly peakMemory: number;
}

/** scaling.ts; seconds and bytes of whole runs. */
export interface ScalingResult {
  readonly experts: number;
  readonly tokens: number;
  readonly layers: number;
  readonly threads: number;
  /** Tokens that mean outputs are made of; 0: all. */
  readonly meanTokens: number;
  readonly seconds: number;
  readonly cpu: number;
  readonly peakMemory: number;
}

export function readResults<T>(file: string): Results<T> {
  return JSON.parse(readFileSync(file, "utf8")) as Results<T>;
}
