/**
 * Products of activations with an expert's weights beside torch's (oneDNN), shape by shape, and beside what the kernels do in
 * the first-level cache:
 *
 *     npm run build && node dist/bench/products-beside.js [--python PATH] [--seconds S] [--rounds N] [--threads 1,2] [--out FILE]
 *
 * The two run in turns, so that a machine whose speed changes is equally fast for both; ratios are medians over the rounds.
 * Ours are given float32 and round it to bfloat16, torch's have bfloat16 already. Weights come from memory: 64 MB of them take
 * turns. Results go to --out as JSON.
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { encode } from "../src/checkpoint/dtypes.js";
import type { Tensor } from "../src/checkpoint/tensor.js";
import type { Backend, Precision } from "../src/engine/backend.js";
import { loadBinary } from "../src/engine/native/load-binary.js";
import { createNativeBackend } from "../src/engine/native/native-backend.js";
import { packageFolder } from "../src/package-folder.js";
import { Random } from "../src/random.js";
import { measureSpeed, type Speed } from "./measure.js";
import { PythonLines } from "./python-lines.js";
import { machine, spread } from "./run-ream.js";

/** As in products_torch.py. */
const WEIGHT_BYTES = 64e6;
/** Down, gate or up, and gate with up of an expert of Qwen3-30B-A3B: [inputs, outputs]. */
const SHAPES = [
  [768, 2048],
  [2048, 768],
  [2048, 1536],
] as const;
const ROWS = [16, 32, 64, 256, 1024] as const;

const { values: options } = parseArgs({
  options: {
    python: { type: "string" },
    seconds: { type: "string", default: "0.25" },
    rounds: { type: "string", default: "5" },
    threads: { type: "string", default: "1,2" },
    out: { type: "string" },
  },
});
const [seconds, rounds] = [Number(options.seconds), Number(options.rounds)];
const torch = options.python && new PythonLines(options.python, join(packageFolder(), "bench/products_torch.py"));

const results = [];
for (const precision of ["bf16", "f32"] satisfies Precision[]) {
  for (const threads of options.threads.split(",").map(Number)) {
    const backend = createNativeBackend({ precision, threads });
    const engine = new (loadBinary().Engine)(precision === "bf16", threads, backend.variant);
    for (const [columns, outputs] of SHAPES) {
      const weights = makeWeights(backend, outputs, columns, precision);
      for (const rows of ROWS) {
        const x = uniform(new Random(rows), rows * columns);
        const rates: { ream: Speed; torch: Speed | undefined; peak: Speed }[] = [];
        for (let round = 0; round < rounds; round++) {
          const peak = measureSpeed(seconds / 5, () => engine.peak(1000));
          const ream = measureSpeed(seconds, (repetition) => {
            backend.linear(x, weights[repetition % weights.length]!);
            return 2 * rows * columns * outputs;
          });
          const asked = { rows, columns, outputs, precision, threads, seconds };
          rates.push({ ream, torch: torch ? await torch.ask<Speed>(asked) : undefined, peak });
        }
        const of = (value: (rate: (typeof rates)[number]) => number) => spread(rates.map(value));
        const result = {
          ...{ precision, threads, rows, columns, outputs, backend: backend.description },
          ream: of(({ ream }) => ream.wall),
          peak: of(({ peak }) => peak.wall),
          shareOfPeak: {
            wall: of(({ ream, peak }) => ream.wall / peak.wall),
            cpu: of(({ ream, peak }) => ream.core / peak.core),
          },
          ...(torch && {
            torch: of(({ torch }) => torch!.wall),
            ratio: {
              wall: of(({ ream, torch }) => ream.wall / torch!.wall),
              cpu: of(({ ream, torch }) => ream.core / torch!.core),
            },
          }),
        };
        results.push(result);
        console.log(JSON.stringify(result));
        if (options.out !== undefined)
          writeFileSync(options.out, `${JSON.stringify({ machine: machine(), results }, null, 2)}\n`);
      }
      for (const weight of weights) weight.dispose();
    }
  }
}
if (torch) torch.close();

function makeWeights(backend: Backend, rows: number, columns: number, precision: Precision) {
  const dtype = precision === "bf16" ? "BF16" : "F32";
  const count = Math.max(2, Math.round(WEIGHT_BYTES / (rows * columns * (precision === "bf16" ? 2 : 4))));
  const values = uniform(new Random(rows), rows * columns);
  const tensor: Tensor = { dtype, shape: [rows, columns], data: encode(dtype, values) };
  return Array.from({ length: count }, () => backend.matrix(tensor));
}

function uniform(random: Random, length: number): Float32Array {
  return Float32Array.from({ length }, () => random.next() - 0.5);
}
