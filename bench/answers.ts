/**
 * Speed of whole answers beside transformers' generate, on one model of random bfloat16 weights:
 *
 *     npm run build && node dist/bench/answers.js [--python PATH] [--threads N] [--requests N] [--shorten N] [--rounds N]
 *                                                 [--layers N] [--model FOLDER]
 *
 * Speed is tokens of answers by time, prompts included. Both programs get the same requests, at most 16 at a time, and
 * each answer has a length that is given: as long as those of real tasks (workloads.ts), which neither program knows in
 * advance, or all alike. The model is written first, or taken where an earlier run left it in FOLDER. With --python,
 * transformers runs before and ends before the weights are loaded here.
 */
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { Checkpoint } from "../src/checkpoint/checkpoint.js";
import { createNativeBackend } from "../src/engine/native/native-backend.js";
import { GREEDY } from "../src/evaluate/language-model.js";
import { asReady } from "../src/generate/as-ready.js";
import type { Engine } from "../src/generate/contract.js";
import { openEngine } from "../src/generate/engine.js";
import { describeModel } from "../src/model/describe.js";
import { countWeights, SIZES, writeModel } from "./decode-checkpoint.js";
import { meterOthers, tellOthers } from "./meter-others.js";
import {
  answerTokens,
  byPrompt,
  byTask,
  equalRequests,
  paddingFactor,
  type Request,
  taskRequests,
  type Workload,
} from "./workloads.js";

const BATCH = 16;
/** Tokens of a prompt and of an answer where all are alike: the mean of the real ones, divided by about 5. */
const EQUAL = [16, 32] as const;

/** Tokens per second of each round. */
type Speeds = readonly number[];

const { values: options } = parseArgs({
  options: {
    python: { type: "string" },
    threads: { type: "string", default: String(availableParallelism()) },
    requests: { type: "string", default: "128" },
    shorten: { type: "string", default: "12" },
    rounds: { type: "string", default: "3" },
    layers: { type: "string", default: String(SIZES.layers) },
    model: { type: "string" },
  },
});
const [threads, count, shorten] = [options.threads, options.requests, options.shorten].map(Number) as [
  number,
  number,
  number,
];
const sizes = { ...SIZES, layers: Number(options.layers) };
const folder = options.model ?? mkdtempSync(join(tmpdir(), "ream-answers-"));
try {
  if (!existsSync(join(folder, "model.safetensors.index.json"))) writeModel(folder, sizes);
  const workloads = makeWorkloads();
  const { all, active } = countWeights(sizes);
  const billions = (weights: number) => (weights / 1e9).toFixed(2);
  console.log(`${billions(all)} B weights, ${billions(active)} B active; lengths of texts are divided by ${shorten}`);
  // First: its memory is free again when the own engine takes its own.
  const others = options.python === undefined ? undefined : measureTransformers(options.python, workloads);
  const own = await measureOwn(workloads);
  console.log(
    "\n| workload | answers | tokens | padding | transformers | ream | ratio |\n|---|---|---|---|---|---|---|",
  );
  for (const workload of workloads) {
    const { name, groups } = workload;
    const [theirs, ours] = [others?.[name], median(own[name]!)];
    const cells = [
      ...[name, groups.flat().length, answerTokens(workload), paddingFactor(workload).toFixed(2)],
      theirs === undefined ? "" : `${median(theirs.speeds).toFixed(1)} (${theirs.experts})`,
      ...[ours.toFixed(1), theirs === undefined ? "" : (ours / median(theirs.speeds)).toFixed(2)],
    ];
    console.log(`| ${cells.join(" | ")} |`);
  }
} finally {
  if (options.model === undefined) rmSync(folder, { recursive: true });
}

function makeWorkloads(): Workload[] {
  const requests = taskRequests(count, shorten, sizes.vocabulary);
  const equal = equalRequests(BATCH, ...EQUAL, sizes.vocabulary);
  const rounds = Number(options.rounds);
  // The uneven ones have hundreds of steps: once is enough.
  return [
    { name: "one at a time", batch: 1, rounds, groups: [equal.slice(0, 1)] },
    { name: `${BATCH} at a time, equal lengths`, batch: BATCH, rounds, groups: [equal] },
    { name: `${BATCH} at a time, real lengths, as given`, batch: BATCH, rounds: 1, groups: [requests] },
    { name: `${BATCH} at a time, real lengths, by prompt`, batch: BATCH, rounds: 1, groups: [byPrompt(requests)] },
    {
      ...{ name: `${BATCH} at a time, real lengths, task by task and by prompt`, batch: BATCH, rounds: 1 },
      groups: byTask(requests).map(byPrompt),
    },
  ];
}

async function measureOwn(workloads: readonly Workload[]): Promise<Record<string, Speeds>> {
  const backend = createNativeBackend({ precision: "bf16", threads });
  console.log(backend.description);
  const checkpoint = await Checkpoint.open(folder);
  const model = describeModel(checkpoint.config);
  const engine = await openEngine({ checkpoint, model }, backend, { resident: "yes" });
  // The first steps make memory ready.
  await answerAll(engine, equalRequests(BATCH, EQUAL[0], 2, sizes.vocabulary), BATCH);
  const results: Record<string, Speeds> = {};
  const meter = meterOthers();
  const used = process.cpuUsage();
  for (const workload of workloads) {
    const speeds: number[] = [];
    for (let round = 0; round < workload.rounds; round++) {
      const start = performance.now();
      for (const group of workload.groups) await answerAll(engine, group, workload.batch);
      speeds.push((1000 * answerTokens(workload)) / (performance.now() - start));
    }
    console.error(`${workload.name}: ${speeds.join(", ")} tokens/s`);
    results[workload.name] = speeds;
  }
  const { user, system } = process.cpuUsage(used);
  tellOthers("ream", meter((user + system) / 1e6));
  await engine.close();
  await checkpoint.close();
  return results;
}

/** Answers requests, `limit` at a time: the next one comes when one has ended. */
async function answerAll(engine: Engine, requests: readonly Request[], limit: number): Promise<void> {
  const answer = async (index: number, signal: AbortSignal) => {
    const { prompt, tokens } = requests[index]!;
    const request = { prompt, maxTokens: tokens, endTokens: new Set<number>(), sampling: GREEDY, top: 0, signal };
    let count = 0;
    for await (const _ of engine.decode({ ...request, logProbabilities: false })) count += 1;
    if (count !== tokens) throw new Error(`an answer has ${count} tokens instead of ${tokens}`);
  };
  const order = requests.map((_, index) => index);
  for await (const _ of asReady(order, limit, new AbortController().signal, answer));
}

/** Runs transformers on the same model and workloads. */
function measureTransformers(python: string, workloads: readonly Workload[]) {
  const script = join(import.meta.dirname, "../../bench/transformers_answers.py");
  const stdio: ["pipe", "pipe", "inherit"] = ["pipe", "pipe", "inherit"];
  const input = JSON.stringify(workloads);
  const meter = meterOthers();
  const child = spawnSync(python, [script, folder, String(threads)], { encoding: "utf8", stdio, input });
  if (child.status !== 0) throw new Error(`transformers ended with ${child.status ?? child.signal}`);
  const { seconds, results } = JSON.parse(child.stdout) as {
    readonly seconds: number;
    readonly results: Record<string, { readonly experts: string; readonly speeds: Speeds }>;
  };
  tellOthers("transformers", meter(seconds));
  return results;
}

function median(values: Speeds): number {
  return [...values].sort((a, b) => a - b)[values.length >> 1]!;
}
