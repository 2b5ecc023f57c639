/**
 * Speed of decoding, beside what the memory's bandwidth allows and beside transformers:
 *
 *     npm run build && node dist/bench/decode.js [--threads N] [--python PATH] [--rounds N] [--model FOLDER]
 *
 * Writes a model of random weights (8.6 GB, or takes the one that an earlier run left in FOLDER), measures how fast the
 * machine reads memory, then tokens per second of answers one at a time and sixteen at a time; all of them in turns, so
 * that other work on the machine disturbs all alike, and with the best of the rounds told. With --python, transformers
 * generates sixteen answers of the same model before (bench/transformers_generate.py).
 */
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { Checkpoint } from "../src/checkpoint/checkpoint.js";
import { loadBinary } from "../src/engine/native/load-binary.js";
import { createNativeBackend } from "../src/engine/native/native-backend.js";
import { GREEDY } from "../src/evaluate/language-model.js";
import type { Engine } from "../src/generate/contract.js";
import { openEngine } from "../src/generate/engine.js";
import { describeModel } from "../src/model/describe.js";
import { Random } from "../src/random.js";
import { countWeights, type ModelSizes, writeModel } from "./decode-checkpoint.js";

const SIZES: ModelSizes = {
  ...{ layers: 16, hidden: 2048, heads: 16, keyValueHeads: 4, headSize: 128 },
  ...{ experts: 40, topK: 8, width: 1024, vocabulary: 32_000 },
};
const PROMPT = 64;
/** Tokens of an answer; the first comes with the prompt and is not timed. */
const TOKENS = 33;
const BATCH = 16;
/** Bytes that are read to measure the bandwidth: more than any cache holds. */
const READ_BYTES = 2 ** 30;
const BFLOAT16 = 2;

/** Reads a large buffer with all threads; returns bytes per second, the best of some passes. */
function bandwidthMeter(threads: number): () => number {
  const [rows, columns] = [READ_BYTES / BFLOAT16 / 1024, 1024];
  const engine = new (loadBinary().Engine)(true, threads, undefined);
  const weight = engine.matrix("BF16", new Uint8Array(READ_BYTES), rows, columns);
  return () => {
    const times = [1, 2, 3].map(() => {
      const start = performance.now();
      engine.checksum(weight);
      return performance.now() - start;
    });
    return READ_BYTES / (Math.min(...times) / 1000);
  };
}

/** Tokens per second. */
interface Speed {
  /** Of the fastest step: what the program can do while nothing else runs on the machine. */
  readonly best: number;
  readonly median: number;
}

/** Decodes some answers at once; every step gives one token of each. */
async function decode(engine: Engine, batch: number, seed: number): Promise<Speed> {
  const random = new Random(seed);
  const times: number[] = [];
  const answer = async (index: number) => {
    const prompt = Array.from({ length: PROMPT }, () => random.below(engine.vocabularySize));
    const request = { prompt, maxTokens: TOKENS, endTokens: new Set<number>(), sampling: GREEDY, top: 0 };
    const { signal } = new AbortController();
    for await (const _ of engine.decode({ ...request, logProbabilities: false, signal })) {
      if (index === 0) times.push(performance.now());
    }
  };
  await Promise.all(Array.from({ length: batch }, (_, index) => answer(index)));
  const steps = times.slice(1).map((time, i) => time - times[i]!);
  steps.sort((a, b) => a - b);
  return { best: (1000 * batch) / steps[0]!, median: (1000 * batch) / steps[steps.length >> 1]! };
}

const { values: options } = parseArgs({
  options: {
    threads: { type: "string", default: String(availableParallelism()) },
    python: { type: "string" },
    rounds: { type: "string", default: "4" },
    model: { type: "string" },
  },
});
const threads = Number(options.threads);
const folder = options.model ?? mkdtempSync(join(tmpdir(), "ream-decode-"));
try {
  if (!existsSync(join(folder, "model.safetensors.index.json"))) writeModel(folder, SIZES);
  const weights = countWeights(SIZES);
  const billions = (count: number) => (count / 1e9).toFixed(2);
  console.log(`${billions(weights.all)} B weights, ${billions(weights.active)} B active`);
  // First: its memory is free again when the own engine takes its own.
  const others = options.python === undefined ? {} : measureTransformers(options.python);
  const own = await measureOwn(weights.active * BFLOAT16);
  for (const [name, { median, best }] of Object.entries(others)) {
    const ratios = `${(own.median / median).toFixed(1)} (best steps ${(own.best / best).toFixed(1)})`;
    console.log(`ream / transformers, experts ${name}: ${ratios}`);
  }
} finally {
  if (options.model === undefined) rmSync(folder, { recursive: true });
}

async function measureOwn(activeBytes: number): Promise<Speed> {
  const backend = createNativeBackend({ precision: "bf16", threads });
  console.log(backend.description);
  const checkpoint = await Checkpoint.open(folder);
  const engine = await openEngine({ checkpoint, model: describeModel(checkpoint.config, checkpoint) }, backend, {
    resident: "yes",
  });
  const bandwidth = bandwidthMeter(threads);
  await decode(engine, BATCH, 0);
  let all = { read: 0, one: { best: 0, median: 0 }, many: { best: 0, median: 0 } };
  for (let round = 1; round <= Number(options.rounds); round++) {
    const read = bandwidth();
    const one = await decode(engine, 1, round);
    const many = await decode(engine, BATCH, round);
    report(`round ${round}`, { read, one, many }, activeBytes);
    all = { read: Math.max(all.read, read), one: larger(all.one, one), many: larger(all.many, many) };
  }
  report("best", all, activeBytes);
  await engine.close();
  await checkpoint.close();
  return all.many;
}

function larger(a: Speed, b: Speed): Speed {
  return { best: Math.max(a.best, b.best), median: Math.max(a.median, b.median) };
}

function report(
  name: string,
  { read, one, many }: { readonly read: number; readonly one: Speed; readonly many: Speed },
  activeBytes: number,
): void {
  const share = (speed: number) => `${((100 * speed * activeBytes) / read).toFixed(0)} %`;
  const numbers = ({ median, best }: Speed) => `${median.toFixed(1)} tokens/s (best step ${best.toFixed(1)})`;
  console.log(
    `${name.padEnd(8)} memory ${(read / 1e9).toFixed(1)} GB/s; 1 answer ${numbers(one)}, ${share(one.median)} ` +
      `(${share(one.best)}) of what the memory allows; ${BATCH} answers ${numbers(many)}`,
  );
}

/** Runs transformers on the same model; returns the speed with each of its ways to compute experts. */
function measureTransformers(python: string): Record<string, Speed> {
  const script = join(import.meta.dirname, "../../bench/transformers_generate.py");
  const numbers = [BATCH, PROMPT, TOKENS, threads].map(String);
  const stdio: ["ignore", "pipe", "inherit"] = ["ignore", "pipe", "inherit"];
  const child = spawnSync(python, [script, folder, ...numbers], { encoding: "utf8", stdio });
  if (child.status !== 0) throw new Error(`transformers ended with ${child.status ?? child.signal}`);
  const speeds = JSON.parse(child.stdout) as Record<string, Speed>;
  for (const [name, { median, best }] of Object.entries(speeds)) {
    console.log(`transformers, experts ${name}: ${median.toFixed(2)} tokens/s (best step ${best.toFixed(2)})`);
  }
  return speeds;
}
