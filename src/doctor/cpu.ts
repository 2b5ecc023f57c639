import { readFileSync } from "node:fs";
import { availableParallelism, cpus } from "node:os";

export interface CpuFacts {
  readonly model: string;
  /** Cores that this process may use. */
  readonly cores: number;
  /** Names of the features that kernels could use; undefined where the system does not tell. */
  readonly features: readonly string[] | undefined;
}

/** Features that matter to products, by the names of Linux. */
const FEATURES = [
  ...["avx", "avx2", "fma", "f16c", "avx_vnni"],
  ...["avx512f", "avx512bw", "avx512vl", "avx512_bf16", "avx512_fp16", "avx512_vnni"],
  ...["amx_tile", "amx_bf16", "amx_int8", "amx_fp16"],
  ...["asimd", "asimdhp", "asimddp", "bf16", "i8mm", "sve", "sve2", "sme"],
];

/** What the processor is. */
export function cpuFacts(): CpuFacts {
  const model = cpus()[0]?.model.trim();
  return { model: model || process.arch, cores: availableParallelism(), features: linuxFeatures() };
}

function linuxFeatures(): string[] | undefined {
  if (process.platform !== "linux") return undefined;
  // x86 calls them flags, 64-bit ARM Features.
  const line = /^(?:flags|Features)\s*:(.*)$/m.exec(readFileSync("/proc/cpuinfo", "utf8"));
  const present = new Set((line?.[1] ?? "").trim().split(/\s+/));
  return FEATURES.filter((feature) => present.has(feature));
}
