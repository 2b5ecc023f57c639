/**
 * How time and memory grow with tokens, layers, experts and threads, `ream` on synthetic checkpoints:
 *
 *     npm run build && node dist/bench/scaling.js [--out FILE] [--experts N] [--sequences N] [--layers N] [--quick]
 *
 * Each line changes one size of the first; the last, which --quick leaves out, is two whole layers with 32,768 tokens, of which
 * 2,048 make the mean outputs. A layer of 128 experts takes 1.26 GB on the disk. Meant to take less than 12 minutes on two idle cores.
 * Results go to --out as JSON (docs/performance.md is made of it).
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { machine, runReam } from "./run-ream.js";
import { LAYER, LENGTH, writeSynthetic, writeTokens } from "./synthetic.js";

interface Sizes {
  readonly experts: number;
  readonly sequences: number;
  readonly layers: number;
  readonly threads: number;
  /** Tokens that mean outputs are made of; 0: all. */
  readonly meanTokens: number;
}

const { values: options } = parseArgs({
  options: {
    experts: { type: "string", default: String(LAYER.experts / 4) },
    sequences: { type: "string", default: "8" },
    layers: { type: "string", default: "2" },
    quick: { type: "boolean", default: false },
    out: { type: "string" },
  },
});
const base: Sizes = {
  ...{ experts: Number(options.experts), sequences: Number(options.sequences), layers: Number(options.layers) },
  ...{ threads: availableParallelism(), meanTokens: 0 },
};
const changes: readonly Partial<Sizes>[] = [
  {},
  { sequences: 2 * base.sequences },
  { sequences: 4 * base.sequences },
  { layers: options.quick ? 2 * base.layers : 12 },
  { experts: 2 * base.experts },
  { threads: 1 },
  ...(options.quick ? [] : [{ experts: LAYER.experts, sequences: 64, meanTokens: 2048 }]),
];

const results = [];
for (const change of changes) {
  const sizes = { ...base, ...change };
  const folder = mkdtempSync(join(tmpdir(), "ream-scaling-"));
  try {
    writeSynthetic(folder, sizes.layers, sizes.experts);
    const statistics = sizes.meanTokens ? `sampled=${sizes.meanTokens}` : "exact";
    const { layers, peakMemory, backend } = await runReam(folder, [
      ...["--tokens", writeTokens(folder, sizes.sequences), "--threads", String(sizes.threads)],
      ...["--method", "ream", "--experts", String(0.75 * sizes.experts), "--statistics", statistics],
    ]);
    const sum = (key: "seconds" | "cpu") => layers.reduce((total, layer) => total + layer[key], 0);
    const result = {
      ...sizes,
      tokens: sizes.sequences * LENGTH,
      seconds: sum("seconds"),
      cpu: sum("cpu"),
      peakMemory,
      backend,
    };
    results.push(result);
    console.log(JSON.stringify(result));
    if (options.out !== undefined)
      writeFileSync(options.out, `${JSON.stringify({ machine: machine(), results }, null, 2)}\n`);
  } finally {
    rmSync(folder, { recursive: true });
  }
}
