/**
 * Speed of GPTQ beside a PyTorch implementation, on a layer with the shape of Qwen3-30B-A3B's: 128 experts, gate and up
 * [768, 2048], down [2048, 768], int4 in groups of 128, from 8,192 tokens of which each goes to 8 experts:
 *
 *     npm run build && node dist/bench/gptq.js [--python PATH] [--threads N] [--experts N] [--rounds N] [--processor-time]
 *
 * Both programs get the same weights and inputs, compute the Gram matrices of an expert's inputs, and quantise gate and up
 * with one factor, then down. Some experts are timed, and the time of 128 is that of so many times as many. The errors
 * that both tell must agree, or the ratio would be of different work.
 *
 * With --processor-time seconds are those of the processors used instead of those that passed: with one thread that tells
 * the speeds also on a machine that does other work.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { gptq } from "../src/compress/weights/gptq.js";
import { factorGram } from "../src/compress/weights/gram-factor.js";
import type { Backend } from "../src/engine/backend.js";
import { createNativeBackend } from "../src/engine/native/native-backend.js";
import { Random } from "../src/random.js";
import { meterOthers, tellOthers } from "./meter-others.js";

const [HIDDEN, WIDTH, EXPERTS, TOKENS] = [2048, 768, 128, 512];
const OPTIONS = { grid: { bits: 4, group: 128, symmetric: true }, scaleDtype: "BF16" } as const;

/** One matrix, or two that share their inputs, and the inputs `[tokens, columns]`. */
interface Work {
  readonly rows: number;
  readonly columns: number;
  readonly weight: Float32Array;
  readonly inputs: Float32Array;
}

/** Seconds of Gram matrices, factors and loops, and the squared error of the outputs. */
interface Spent {
  gram: number;
  factor: number;
  loop: number;
  error: number;
}

const { values: options } = parseArgs({
  options: {
    python: { type: "string" },
    threads: { type: "string", default: String(availableParallelism()) },
    experts: { type: "string", default: "4" },
    rounds: { type: "string", default: "3" },
    "processor-time": { type: "boolean", default: false },
  },
});
const [threads, experts, rounds] = [options.threads, options.experts, options.rounds].map(Number) as [
  number,
  number,
  number,
];

/** Seconds of the clock that is asked for. */
const now = () => {
  const { user, system } = process.cpuUsage();
  return options["processor-time"] ? (user + system) / 1e6 : performance.now() / 1000;
};

const random = new Random(1);
const backend = createNativeBackend({ precision: "f32", threads });
const works = Array.from({ length: experts }, () => [makeWork(2 * WIDTH, HIDDEN), makeWork(HIDDEN, WIDTH)]).flat();
console.log(`${backend.description}; ${experts} of ${EXPERTS} experts; best of ${rounds} rounds`);
const [meter, used] = [meterOthers(), process.cpuUsage()];
const ours = best(Array.from({ length: rounds + 1 }, () => run(backend)).slice(1));
const spent = process.cpuUsage(used);
tellOthers("ream", meter((spent.user + spent.system) / 1e6));
tell("ream", ours);
if (options.python !== undefined) {
  const theirs = runPython(options.python);
  tell("PyTorch", theirs);
  const difference = Math.abs(ours.error / theirs.error - 1);
  if (!(difference < 0.02)) throw new Error(`errors ${ours.error} and ${theirs.error} are of different work`);
  console.log(`\nratio ${(total(theirs) / total(ours)).toFixed(2)} (${backend.variant}, ${threads} threads)`);
}

function makeWork(rows: number, columns: number): Work {
  const normals = (length: number, size = 1) => Float32Array.from({ length }, () => size * random.normal());
  // Inputs have common causes, and some are far larger than others.
  const causes = 32;
  const mixing = normals(causes * columns, 1 / Math.sqrt(causes));
  const mixed = backend.product(normals(TOKENS * causes), transposed(mixing, columns), causes);
  const sizes = Float32Array.from({ length: columns }, () => Math.exp(0.5 * random.normal()));
  const inputs = mixed.map((value, i) => (value + 0.5 * random.normal()) * sizes[i % columns]!);
  return { rows, columns, weight: normals(rows * columns, 0.02), inputs };
}

function transposed(values: Float32Array, columns: number): Float32Array {
  const rows = values.length / columns;
  return Float32Array.from(values, (_, i) => values[(i % rows) * columns + Math.floor(i / rows)]!);
}

function run(backend: Backend): Spent {
  const spent = { gram: 0, factor: 0, loop: 0, error: 0 };
  const grams = new Map([HIDDEN, WIDTH].map((columns) => [columns, new Float64Array(columns ** 2)]));
  for (const { rows, columns, weight, inputs } of works) {
    const times = [now()];
    const gram = grams.get(columns)!;
    backend.addGram(gram, inputs, columns, true);
    times.push(now());
    const factor = factorGram(backend, gram, columns);
    times.push(now());
    spent.error += gptq(backend, weight, [rows, columns], factor, OPTIONS).error;
    factor.dispose();
    times.push(now());
    const [gramTime, factorTime, loopTime] = [0, 1, 2].map((i) => times[i + 1]! - times[i]!);
    spent.gram += gramTime!;
    spent.factor += factorTime!;
    spent.loop += loopTime!;
  }
  return spent;
}

function runPython(python: string): Spent {
  const folder = mkdtempSync(join(tmpdir(), "ream-gptq-"));
  try {
    const shapes = works.map(({ rows, columns, weight, inputs }, i) => {
      writeFileSync(join(folder, `${i}.weight`), weight);
      writeFileSync(join(folder, `${i}.inputs`), inputs);
      return [rows, columns];
    });
    const script = join(import.meta.dirname, "../../bench/gptq.py");
    const input = JSON.stringify({ folder, shapes, threads, rounds, processor: options["processor-time"] });
    const meter = meterOthers();
    const child = spawnSync(python, [script], { encoding: "utf8", stdio: ["pipe", "pipe", "inherit"], input });
    if (child.status !== 0) throw new Error(`PyTorch ended with ${child.status ?? child.signal}`);
    const { seconds, results } = JSON.parse(child.stdout) as { readonly seconds: number; readonly results: Spent[] };
    tellOthers("PyTorch", meter(seconds));
    return best(results);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function total({ gram, factor, loop }: Spent): number {
  return gram + factor + loop;
}

function best(rounds: readonly Spent[]): Spent {
  return rounds.reduce((a, b) => (total(b) < total(a) ? b : a));
}

function tell(name: string, spent: Spent): void {
  const each = (seconds: number) => `${((1000 * seconds) / experts).toFixed(1)} ms`;
  const layer = ((total(spent) * EXPERTS) / experts).toFixed(1);
  const parts = `Gram ${each(spent.gram)}, factor ${each(spent.factor)}, loop ${each(spent.loop)} an expert`;
  console.log(`${name}: ${layer} s a layer (${parts}), error ${spent.error.toPrecision(6)}`);
}
