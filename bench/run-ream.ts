import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { cpus, loadavg } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { packageFolder } from "../src/package-folder.js";

/** What one run of `ream compress` took. Seconds and bytes. */
export interface ReamRun {
  /** Of each layer, from its first event to the first of the next one; the last has no output to hand on. */
  readonly layers: readonly LayerTime[];
  /** Highest resident memory of the process. */
  readonly peakMemory: number;
  readonly backend: string;
}

export interface LayerTime {
  readonly seconds: number;
  /** Of the processor, in all threads. 0 where the system does not tell. */
  readonly cpu: number;
  /** By phase (`Phase`), from the first event of a phase to the first of the next. */
  readonly phases: Readonly<Record<string, number>>;
}

interface Mark {
  readonly layer: number;
  readonly phase: string;
  readonly elapsed: number;
  readonly cpu: number;
}

/** Runs `ream compress` in a process of its own, without writing a checkpoint, and takes times from its events. */
export async function runReam(model: string, options: readonly string[]): Promise<ReamRun> {
  const program = join(packageFolder(), "bin/ream.js");
  const args = [program, "compress", model, "--dry-run", "--events", "jsonl", ...options];
  const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] });
  const marks: Mark[] = [];
  let backend = "";
  let lastCpu = 0;
  let end: { readonly elapsed: number; readonly peakMemory: number } | undefined;
  for await (const line of createInterface(child.stdout)) {
    const event = JSON.parse(line);
    if (event.type === "start") backend = event.backend;
    if (event.type === "result") end = event;
    const last = marks.at(-1);
    if (event.type === "progress" && (event.layer !== last?.layer || event.phase !== last?.phase))
      marks.push({ ...event, cpu: cpuSeconds(child.pid!) });
    lastCpu = cpuSeconds(child.pid!) || lastCpu;
  }
  if (end === undefined) throw new Error(`ream ${args.slice(1).join(" ")} failed`);
  return { layers: layerTimes(marks, { elapsed: end.elapsed, cpu: lastCpu }), peakMemory: end.peakMemory, backend };
}

/**
 * An event tells the end of a batch, so that the first of a phase comes after its first batch: with one batch in a phase its
 * time counts for the phase before. The sum is right in any case.
 */
function layerTimes(marks: readonly Mark[], end: Pick<Mark, "elapsed" | "cpu">): LayerTime[] {
  const layers: { seconds: number; cpu: number; phases: Record<string, number> }[] = [];
  for (const [i, { layer, phase, elapsed, cpu }] of marks.entries()) {
    layers[layer] ??= { seconds: 0, cpu: 0, phases: {} };
    const next = marks[i + 1] ?? end;
    const time = next.elapsed - elapsed;
    layers[layer].cpu += next.cpu - cpu;
    layers[layer].seconds += time;
    layers[layer].phases[phase] = (layers[layer].phases[phase] ?? 0) + time;
  }
  return layers;
}

/** Seconds of the processor that a process has used, from the clock ticks (100 a second) of /proc; 0 where there is none. */
function cpuSeconds(pid: number): number {
  try {
    const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]!.split(" ");
    return (Number(fields[11]) + Number(fields[12])) / 100;
  } catch {
    return 0;
  }
}

/** What results are measured on; times of other machines, and of busy ones, are other times. */
export function machine() {
  const memory = /MemTotal:\s+(\d+) kB/.exec(process.platform === "linux" ? readFileSync("/proc/meminfo", "utf8") : "");
  return {
    processor: cpus()[0]?.model ?? process.arch,
    cores: cpus().length,
    memory: memory === null ? undefined : 1024 * Number(memory[1]),
    load: loadavg()[0]!,
    date: new Date().toISOString().slice(0, 10),
  };
}

/** Median and the smallest and largest value. */
export function spread(values: readonly number[]) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length / 2;
  const median = (sorted[Math.floor(middle)]! + sorted[Math.ceil(middle) - 1]!) / 2;
  return { median, least: sorted[0]!, most: sorted.at(-1)! };
}
