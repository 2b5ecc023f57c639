/**
 * Tokens per second of an ordinary forward pass of two layers shaped like Qwen3-30B-A3B's, beside transformers:
 *
 *     npm run build && node dist/bench/forward.js [--python PATH] [--threads N] [--sequences N] [--rounds N] [--model FOLDER] [--out FILE]
 *
 * Both have the weights in memory and take 4,096 tokens at a time. Results go to --out as JSON.
 */
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { Checkpoint } from "../src/checkpoint/checkpoint.js";
import { createNativeBackend } from "../src/engine/native/native-backend.js";
import { describeModel } from "../src/model/describe.js";
import { embed } from "../src/model/embedding.js";
import { loadMoe } from "../src/model/forward.js";
import { Layer, type TokenBatch } from "../src/model/layer.js";
import type { MoeBlock } from "../src/model/moe.js";
import { Random } from "../src/random.js";
import { pytorchDtype, runPyTorch } from "./run-pytorch.js";
import { machine, spread } from "./run-ream.js";
import { LAYER, LENGTH, writeSynthetic, writeTokens } from "./synthetic.js";

/** Sequences at a time, as in official_layer.py. */
const BATCH = 8;

const { values: options } = parseArgs({
  options: {
    python: { type: "string" },
    threads: { type: "string", default: String(availableParallelism()) },
    sequences: { type: "string", default: "16" },
    rounds: { type: "string", default: "3" },
    model: { type: "string" },
    out: { type: "string" },
  },
});
const [threads, sequences, rounds] = [options.threads, options.sequences, options.rounds].map(Number) as [
  number,
  number,
  number,
];
const folder = options.model ?? mkdtempSync(join(tmpdir(), "ream-forward-"));
try {
  if (!existsSync(join(folder, "model.safetensors.index.json"))) writeSynthetic(folder, 2);
  const tokens = sequences * LENGTH;
  const ours = await ream();
  const work = { ...{ model: folder, tokens: writeTokens(folder, sequences), layers: [0, 1] }, threads, rounds };
  const theirs =
    options.python === undefined
      ? undefined
      : runPyTorch(options.python, { ...work, kept: 0, group: 0, method: "forward" });
  const rates = (times: readonly { seconds: number; cpu: number }[], of: "seconds" | "cpu") =>
    spread(times.map((round) => tokens / round[of]));
  const pytorch = theirs?.map(({ seconds, cpu }) => ({ seconds: seconds.forward!, cpu: cpu.forward! }));
  const result = {
    ...{ name: "forward of two layers", tokens, threads, backend: ours.backend },
    ream: rates(ours.times, "seconds"),
    reamCpu: rates(ours.times, "cpu"),
    ...(pytorch && {
      pytorchDtype: pytorchDtype(),
      pytorch: rates(pytorch, "seconds"),
      pytorchCpu: rates(pytorch, "cpu"),
    }),
  };
  console.log(JSON.stringify(result));
  if (options.out !== undefined)
    writeFileSync(options.out, `${JSON.stringify({ machine: machine(), results: [result] }, null, 2)}\n`);
} finally {
  if (options.model === undefined) rmSync(folder, { recursive: true });
}

async function ream() {
  const checkpoint = await Checkpoint.open(folder);
  const model = describeModel(checkpoint.config, checkpoint);
  const backend = createNativeBackend({ precision: "bf16", threads });
  const random = new Random(sequences);
  const batches: TokenBatch[] = Array.from({ length: Math.ceil(sequences / BATCH) }, (_, i) => {
    const count = Math.min(BATCH, sequences - i * BATCH);
    const ids = Int32Array.from({ length: count * LENGTH }, () => random.below(LAYER.vocabulary));
    return { sequences: count, length: LENGTH, ids };
  });
  const embedded = await embed(checkpoint, model, batches);
  const layers: { readonly layer: Layer; readonly moe: MoeBlock }[] = [];
  for (const description of model.layers.slice(0, 2)) {
    const layer = await Layer.load(checkpoint, model, description.index, backend);
    layers.push({ layer, moe: (await loadMoe(checkpoint, description, backend))! });
  }
  const run = () => {
    for (const [index, batch] of batches.entries()) {
      let hidden = embedded[index]!;
      for (const { layer, moe } of layers) {
        const mixed = layer.mix(hidden, batch);
        const x = layer.feedForwardInput(mixed);
        hidden = layer.finish(mixed, x, layer.feedForward(x, moe.run(layer.moeInput(x)).output));
      }
    }
  };
  // The first round, which is not told, touches the memory.
  run();
  const times = Array.from({ length: rounds }, () => {
    const [began, cpu] = [performance.now(), process.cpuUsage()];
    run();
    const { user, system } = process.cpuUsage(cpu);
    return { seconds: (performance.now() - began) / 1000, cpu: (user + system) / 1e6 };
  });
  for (const { layer, moe } of layers) {
    layer.dispose();
    moe.dispose();
  }
  await checkpoint.close();
  return { times, backend: `${backend.name} (${backend.description})` };
}
