/**
 * Speed of the steps of decoding, beside what the memory's bandwidth allows (whole answers, beside transformers: answers.ts):
 *
 *     npm run build && node dist/bench/decode.js [--threads N] [--rounds N] [--layers N] [--model FOLDER]
 *
 * Writes a model of random weights (8.6 GB, or takes the one that an earlier run left in FOLDER), measures how fast the
 * machine reads memory, then tokens per second of answers one at a time and sixteen at a time; all of them in turns, so
 * that other work on the machine disturbs all alike, and with the best of the rounds told.
 */
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
import { countWeights, SIZES, writeModel } from "./decode-checkpoint.js";

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
    rounds: { type: "string", default: "4" },
    layers: { type: "string", default: String(SIZES.layers) },
    model: { type: "string" },
  },
});
const threads = Number(options.threads);
const sizes = { ...SIZES, layers: Number(options.layers) };
const folder = options.model ?? mkdtempSync(join(tmpdir(), "ream-decode-"));
try {
  if (!existsSync(join(folder, "model.safetensors.index.json"))) writeModel(folder, sizes);
  const weights = countWeights(sizes);
  const billions = (count: number) => (count / 1e9).toFixed(2);
  console.log(`${billions(weights.all)} B weights, ${billions(weights.active)} B active`);
  await measure(weights.active * BFLOAT16);
} finally {
  if (options.model === undefined) rmSync(folder, { recursive: true });
}

async function measure(activeBytes: number): Promise<void> {
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
