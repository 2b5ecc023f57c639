/**
 * Cost of refitting a layer with the shape of Qwen3-30B-A3B's, 128 experts of [768, 2048] to 96, 8 for each token:
 *
 *     npm run build && node dist/bench/reconstruct.js [--tokens N] [--use N] [--threads N] [--parts down+up|all]
 *
 * --tokens: calibration tokens there are; --use: those that the refit looks at (default: as `ream compress` does).
 * Processor time is told too: beside other programs it says more. Weights are random bfloat16, inputs have common causes. The memory is what the refit adds to what was there before.
 */
import { availableParallelism } from "node:os";
import { parseArgs } from "node:util";
import { encode } from "../src/checkpoint/dtypes.js";
import type { Tensor } from "../src/checkpoint/tensor.js";
import { relative } from "../src/compress/reconstruct/refit.js";
import type { ExpertTensors } from "../src/engine/backend.js";
import { createNativeBackend } from "../src/engine/native/native-backend.js";
import type { MoeDescription } from "../src/model/description.js";
import { StatesInMemory } from "../src/model/hidden-states.js";
import { MoeBlock } from "../src/model/moe.js";
import { LayerFiles } from "../src/pipeline/layer-files.js";
import { EPOCHS } from "../src/pipeline/options.js";
import { LayerRefitter } from "../src/pipeline/reconstruct/layer-refit.js";
import { LayerTargets } from "../src/pipeline/reconstruct/layer-targets.js";
import { RefitFiles } from "../src/pipeline/reconstruct/refit-files.js";
import type { RefitPlan } from "../src/pipeline/reconstruct/refit-plan.js";
import { splitForRefit } from "../src/pipeline/reconstruct/split-layer.js";
import { Random } from "../src/random.js";

const [HIDDEN, WIDTH, EXPERTS, KEPT, LENGTH, SEQUENCES] = [2048, 768, 128, 96, 512, 8];

const { values: options } = parseArgs({
  options: {
    tokens: { type: "string", default: "131072" },
    use: { type: "string" },
    parts: { type: "string", default: "down" },
    threads: { type: "string", default: String(availableParallelism()) },
  },
});
const random = new Random(1);
/** One block of noise, from which arrays are made: drawing every number would take minutes. */
const noise = Float32Array.from({ length: 1 << 20 }, () => random.normal());

function normals(length: number, size: number): Float32Array {
  const offset = random.below(noise.length);
  return Float32Array.from({ length }, (_, i) => size * noise[(i + offset) % noise.length]!);
}

function matrix(rows: number, columns: number): Tensor {
  return { dtype: "BF16", shape: [rows, columns], data: encode("BF16", normals(rows * columns, columns ** -0.5)) };
}

const backend = createNativeBackend({ precision: "bf16", threads: Number(options.threads) });
const experts: ExpertTensors[] = Array.from({ length: EXPERTS }, () => ({
  ...{ gate: matrix(WIDTH, HIDDEN), up: matrix(WIDTH, HIDDEN), down: matrix(HIDDEN, WIDTH) },
}));
const router = matrix(EXPERTS, HIDDEN);
const moe = {
  ...{ kind: "moe", activation: "silu" },
  experts: { count: EXPERTS, width: WIDTH, hidden: HIDDEN },
  router: { weight: "router", scores: "softmax", topK: 8, normalise: true },
} as unknown as MoeDescription;
const batches = Array.from({ length: Math.ceil(Number(options.tokens) / (LENGTH * SEQUENCES)) }, (_, batch) => ({
  ...{ sequences: SEQUENCES, length: LENGTH, ids: new Int32Array(SEQUENCES * LENGTH) },
  keys: Uint32Array.from({ length: SEQUENCES }, (_, i) => batch * SEQUENCES + i),
}));
const mixing = normals(HIDDEN * 256, 1 / 16);
const hidden = batches.map(({ ids }) => {
  const own = normals(ids.length * HIDDEN, 0.5);
  return backend.product(normals(ids.length * 256, 1), mixing, 256).map((value, i) => value + own[i]!);
});

const files = new RefitFiles(await LayerFiles.open(undefined, "reconstruct"));
const tokens = options.use === undefined ? undefined : Number(options.use);
const memory = () => process.memoryUsage.rss();
const before = memory();
let most = before;
const plan = {
  parts: options.parts as RefitPlan["parts"],
  experts: "all" as const,
  epochs: EPOCHS,
  ridge: undefined,
  tokens,
  random: 0,
  seed: 0,
};
const targets = new LayerTargets(backend, moe, splitForRefit(plan, moe, batches));
const block = new MoeBlock(backend, moe, { router }, backend.experts(experts, "silu"));
for (const [index, mixed] of hidden.entries()) {
  if (targets.uses(index)) targets.observe(index, mixed, block.run({ router: mixed, experts: mixed }).output);
}
block.dispose();
const keptExperts = Array.from({ length: KEPT }, (_, expert) => expert);
const groups = keptExperts.map((expert) => ({ members: [expert], weights: [1], permutations: {} }));
const rows: Tensor = { ...router, shape: [KEPT, HIDDEN], data: router.data.subarray(0, KEPT * HIDDEN * 2) };
const reduced = {
  router: { weight: backend.matrix(rows), bias: undefined, selectionBias: undefined },
  ...{
    experts: experts.slice(0, KEPT),
    dtype: undefined,
    form: undefined,
    stepped: undefined,
    moeInput: (x: Float32Array) => ({ router: x, experts: x }),
  },
};
console.log(backend.description);
const began = performance.now();
const used = process.cpuUsage();
let steps = 0;
const refitter = new LayerRefitter(backend, { plan, files }, 0, moe);
const { fit } = await refitter.run(
  { layer: 0, keptExperts, groups },
  targets,
  new StatesInMemory(hidden),
  reduced,
  async () => {
    most = Math.max(most, memory());
    if (plan.parts === "all" || ++steps % KEPT > 0) return;
    const { user, system } = process.cpuUsage(used);
    const elapsed = (performance.now() - began) / 1000;
    const pass = steps === KEPT ? "outputs" : `sweep ${steps / KEPT - 1}`;
    console.log(
      `${pass}: ${elapsed.toFixed(1)} s, ${((user + system) / 1e6).toFixed(1)} s of processors, since the start`,
    );
  },
);
const seconds = (performance.now() - began) / 1000;
const sweeps = steps / KEPT - 1;
console.log(`${fit!.tokens.fitted} tokens fitted, ${fit!.tokens.heldOut} held out of ${options.tokens}`);
console.log(`held-out error ${relative(fit!.before.heldOut).toFixed(4)} -> ${relative(fit!.after.heldOut).toFixed(4)}`);
const { user, system } = process.cpuUsage(used);
const spent = `${((user + system) / 1e6).toFixed(1)} s of processors`;
const times = plan.parts === "all" ? `${EPOCHS} epochs` : `${sweeps} sweeps`;
console.log(`${seconds.toFixed(1)} s, ${spent}, ${times}, at most ${((most - before) / 1e9).toFixed(2)} GB more`);
await files.close();
