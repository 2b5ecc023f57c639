import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { createNativeBackend } from "../src/engine/native/native-backend.js";
import { packageFolder } from "../src/package-folder.js";

/** Time of each part of a round: that which passed, and that of the processor in all threads. */
export interface PyTorchTimes {
  readonly seconds: Readonly<Record<string, number>>;
  readonly cpu: Readonly<Record<string, number>>;
}

export interface PyTorchWork {
  readonly model: string;
  /** A file for `--tokens`. */
  readonly tokens: string;
  readonly layers: readonly number[];
  readonly kept: number;
  readonly group: number;
  readonly threads: number;
  readonly rounds: number;
  readonly method: "ream" | "reap" | "forward";
}

/**
 * What PyTorch computes in where the published code has bfloat16. Its products of bfloat16 take six times as long as those of float32 on
 * processors that have no instruction for them.
 */
export function pytorchDtype(): "bfloat16" | "float32" {
  const { variant } = createNativeBackend({ precision: "bf16" });
  return ["amx", "avx512bf16", "neonbf16"].includes(variant) ? "bfloat16" : "float32";
}

/** Runs official_layer.py; returns the times of each round, after one that is not told. */
export function runPyTorch(python: string, work: PyTorchWork): PyTorchTimes[] {
  const script = join(packageFolder(), "bench/official_layer.py");
  // Freed memory stays with the process, and is not asked of the system again.
  const env = { ...process.env, MALLOC_MMAP_MAX_: "0", MALLOC_TRIM_THRESHOLD_: "1000000000000" };
  const input = JSON.stringify({ ...work, dtype: pytorchDtype() });
  const child = spawnSync(python, [script], { encoding: "utf8", stdio: ["pipe", "pipe", "inherit"], input, env });
  if (child.status !== 0) throw new Error(`PyTorch ended with ${child.status ?? child.signal}`);
  return JSON.parse(child.stdout) as PyTorchTimes[];
}
