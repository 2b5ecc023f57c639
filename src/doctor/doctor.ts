import { release } from "node:os";
import { loadBinary, platformName } from "../engine/native/load-binary.js";
import { createNativeBackend, nativeVariants } from "../engine/native/native-backend.js";
import { ReamError } from "../errors.js";
import { VERSION } from "../version.js";
import { type CpuFacts, cpuFacts } from "./cpu.js";
import { type DiskFacts, diskFacts } from "./disk.js";
import { type GpuLibrary, gpuLibraries } from "./gpu.js";
import { type MemoryFacts, memoryFacts } from "./memory.js";
import { type KernelResult, selfTest } from "./self-test.js";

/** What computes: the Rust core, or why there is none. */
export type NativeFacts =
  | {
      readonly loaded: true;
      /** The instruction set in use, and all that this machine has kernels for, best first. */
      readonly variant: string;
      readonly variants: readonly string[];
      readonly threads: string;
      /** Of the compiler that built it. */
      readonly rust: string;
    }
  | { readonly loaded: false; readonly reason: string; readonly hint: string | undefined };

export interface Diagnosis {
  readonly versions: {
    readonly ream: string;
    readonly node: string;
    readonly platform: string;
    readonly system: string;
  };
  readonly cpu: CpuFacts;
  readonly native: NativeFacts;
  readonly memory: MemoryFacts;
  readonly disk: DiskFacts;
  /** Nothing is computed on them yet. */
  readonly gpu: readonly GpuLibrary[];
  readonly kernels: readonly KernelResult[];
  readonly selfTestSeconds: number;
  /** Whether the native core is there and each of its kernels right. */
  readonly healthy: boolean;
}

/**
 * What this machine is to the program, and whether its kernels compute what they should.
 *
 * @param folder whose disk is measured
 * @throws ReamError DISK; CPU_VARIANT where REAM_CPU_VARIANT names none of this machine
 */
export async function diagnose(folder: string, signal?: AbortSignal): Promise<Diagnosis> {
  const native = nativeFacts();
  const disk = await diskFacts(folder);
  const began = performance.now();
  const kernels = native.loaded ? await selfTest(signal) : [];
  const selfTestSeconds = (performance.now() - began) / 1000;
  return {
    versions: { ream: VERSION, node: process.versions.node, platform: platformName(), system: release() },
    cpu: cpuFacts(),
    native,
    memory: memoryFacts(),
    disk,
    gpu: gpuLibraries(),
    kernels,
    selfTestSeconds,
    healthy: native.loaded && kernels.every(({ right }) => right),
  };
}

function nativeFacts(): NativeFacts {
  try {
    const { variant, description } = createNativeBackend({ precision: "bf16" });
    const [, threads] = description.split(", ");
    return { loaded: true, variant, variants: nativeVariants(), threads: threads!, rust: loadBinary().compiler() };
  } catch (error) {
    if (!(error instanceof ReamError) || error.code !== "NATIVE_UNAVAILABLE") throw error;
    return { loaded: false, reason: error.message, hint: error.hint };
  }
}
