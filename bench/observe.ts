/**
 * What one observation saves: ten mixes compressed from it, against ten direct compressions that are not sequential.
 *
 *     npm run build && node dist/bench/observe.js [--model FOLDER] [--sequences N] [--length N] [--experts N] [--threads N]
 *
 * Times are of whole runs with writing of the checkpoint, in one process, direct and observed in turns; the results are
 * compared byte by byte. The default model is the demo's.
 */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { availableParallelism, cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { PAPER_MIXES } from "../src/calibration/paper-mixes.js";
import type { Method } from "../src/compress/settings.js";
import { createNativeBackend } from "../src/engine/native/native-backend.js";
import { observe } from "../src/observe/observe.js";
import { plan } from "../src/observe/plan.js";
import { packageFolder } from "../src/package-folder.js";
import { compress } from "../src/pipeline/compress.js";
import { follow } from "../src/pipeline/follow.js";
import type { CompressOptions } from "../src/pipeline/options.js";

const METHODS: readonly Method[] = ["reap", "ream"];
const demo = join(packageFolder(), "demo");
const { values: given } = parseArgs({
  options: {
    model: { type: "string", default: join(demo, "model") },
    sequences: { type: "string", default: "3072" },
    length: { type: "string", default: "128" },
    experts: { type: "string", default: "48" },
    threads: { type: "string", default: String(availableParallelism()) },
  },
});
const { model } = given;
const [sequences, length, experts, threads] = [given.sequences, given.length, given.experts, given.threads].map(
  Number,
) as [number, number, number, number];
const folder = mkdtempSync(join(tmpdir(), "ream-bench-observe-"));
const observed = join(folder, "observed");

function texts(mix: string): string[] {
  return ["general", "math", "code"]
    .filter((name) => !new RegExp(`${name}=0(,|$)`).test(mix))
    .map((name) => `${name}=${join(demo, "data", "calibration", `${name}.jsonl`)}`);
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const began = performance.now();
  await work();
  return (performance.now() - began) / 1000;
}

/** Compresses to a folder; seconds that it took. */
function compressed(out: string, options: Omit<CompressOptions, "model" | "out" | "experts">): Promise<number> {
  const run = () => follow(compress({ model, experts, threads, ...options, out: join(folder, out) }), () => undefined);
  return timed(run);
}

const weights = (name: string) => readFileSync(join(folder, name, "model.safetensors"));
const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);
const percent = (part: number, whole: number) => `${((100 * part) / whole).toFixed(1)} %`;

try {
  const { description } = createNativeBackend({ precision: "bf16", threads });
  console.log(`${cpus()[0]!.model}, ${description}`);
  console.log(`${model}: ${experts} experts, mixes of ${sequences} x ${length} tokens\n`);
  const observing = await timed(() =>
    follow(observe({ model, out: observed, domain: texts(""), sequences, length, threads }), () => undefined),
  );
  console.log(`observing, once: ${observing.toFixed(1)} s`);
  for (const method of METHODS) {
    const [direct, from, planning]: [number[], number[], number[]] = [[], [], []];
    for (const mix of PAPER_MIXES) {
      const text = { mix, domain: texts(mix), sequences, length };
      const mixed = { method, ...text, sequential: false, statistics: "exact" as const };
      direct.push(await compressed("direct", mixed));
      from.push(await compressed("from", { method, mix, observed }));
      planning.push(await timed(() => follow(plan({ observed, mix, experts, method }), () => undefined)));
      if (!weights("direct").equals(weights("from"))) throw new Error(`${method}, ${mix}: the checkpoints differ`);
      for (const out of ["direct", "from"]) rmSync(join(folder, out), { recursive: true });
    }
    const [ten, saved] = [sum(direct), sum(from)];
    console.log(`\n${method}: ten direct runs ${ten.toFixed(1)} s`);
    console.log(`  ten checkpoints from the observation ${saved.toFixed(1)} s, ${percent(saved, ten)}`);
    console.log(
      `  with observing                       ${(saved + observing).toFixed(1)} s, ${percent(saved + observing, ten)}`,
    );
    console.log(`  ten plans alone                      ${sum(planning).toFixed(1)} s, ${percent(sum(planning), ten)}`);
  }
  console.log("\nAll checkpoints are equal byte by byte.");
} finally {
  rmSync(folder, { recursive: true, force: true });
}
