import { spawnSync } from "node:child_process";
import { statSync } from "node:fs";

/** Names the library that a process has tried, for itself and the processes it starts. */
const TRIED = "REAM_NATIVE_TRIED";

/** A product and a softmax with every instruction set of the machine: what a wrong build or a lying hypervisor breaks. */
const PROGRAM = `
const { Engine, cpuVariants } = require(process.argv[1]);
for (const variant of cpuVariants()) {
  for (const bfloat16 of [true, false]) {
    const engine = new Engine(bfloat16, 1, variant);
    const ones = new Float32Array(140).fill(1);
    const out = new Float32Array(49);
    engine.linear(ones, engine.matrix("F32", new Uint8Array(ones.buffer), 7, 20), undefined, out);
    engine.softmax(ones.subarray(0, 49), 7, out.map((x) => x - 20));
    if (out.some((x) => x !== 20)) throw new Error(variant + " computes wrong products: " + out[0]);
  }
}`;

/**
 * Loads a native library in a child process first, so that a library that crashes there (an instruction that the
 * processor lacks, a wrong C library) cannot end the user's process. Throws an `Error` that tells how it failed. A
 * library is tried once in a tree of processes.
 */
export function probe(path: string): void {
  const key = `${path}:${statSync(path).mtimeMs}`;
  if (process.env[TRIED] === key) return;
  const child = spawnSync(process.execPath, ["-e", PROGRAM, path], { encoding: "utf8", timeout: 60_000 });
  if (child.error !== undefined) throw child.error;
  if (child.signal !== null) throw new Error(`it ended a test process with ${child.signal}`);
  if (child.status !== 0) {
    const reason = child.stderr.split("\n").find((line) => line.includes("Error")) ?? child.stderr.trim();
    throw new Error(reason === "" ? `it ended a test process with exit code ${child.status}` : reason);
  }
  process.env[TRIED] = key;
}
