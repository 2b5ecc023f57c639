/**
 * What the reconstruction of layers wins on the demo model: methods with and without it, on the demo world's 14 tasks in full
 * (docs/quality.md):
 *
 *     npm run build && node dist/demo/reconstruct.js OUT [--experts 48,32] [--methods reap,energy,ream] [--tokens 65536]
 *         [--parts down+up] [--seed 0] [--limit N]
 *
 * Models that are in OUT already are taken as they are. With several numbers of tokens, each is a row of its own; 0 is no
 * reconstruction.
 */
import { existsSync, readFileSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { parseArgs } from "node:util";
import type { Mean } from "../src/evaluate/metrics/mean.js";
import { evaluate } from "../src/evaluate/run/evaluate.js";
import { packageFolder } from "../src/package-folder.js";
import { compress } from "../src/pipeline/compress.js";
import { follow } from "../src/pipeline/follow.js";
import type { CompressOptions } from "../src/pipeline/options.js";

const METHODS: Readonly<Record<string, Partial<CompressOptions>>> = {
  reap: { method: "reap" },
  energy: { method: "reap", saliency: "energy" },
  "co-activation": { method: "reap", criterion: "co-activation" },
  auto: { method: "reap", criterion: "auto" },
  swap: { method: "reap", criterion: "swap" },
  "refit-swap": { method: "reap", criterion: "refit-swap" },
  ream: { method: "ream" },
  "ream-router": { method: "ream", routerCalibration: "group-mass" },
};

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    experts: { type: "string", default: "48,32" },
    methods: { type: "string", default: "reap,energy,ream" },
    tokens: { type: "string", default: "65536" },
    parts: { type: "string", default: "down" },
    seed: { type: "string", default: "0" },
    limit: { type: "string" },
  },
});
const out = positionals[0];
if (out === undefined) throw new Error("usage: reconstruct OUT");
const demo = join(packageFolder(), "demo");
const seed = Number(options.seed);
await mkdir(out, { recursive: true });

const models = [`original=${join(demo, "model")}`];
for (const experts of options.experts.split(",").map(Number)) {
  for (const name of options.methods.split(",")) {
    for (const tokens of new Set(["0", ...options.tokens.split(",")].map(Number))) {
      const label = `${name}-${experts}${tokens === 0 ? "" : `-refit-${options.parts}-${tokens}`}`;
      const folder = join(out, label);
      if (!existsSync(folder)) await make(folder, { ...METHODS[name]!, experts }, tokens);
      models.push(`${label}=${folder}`);
    }
  }
}
const evaluation = await follow(
  evaluate(
    {
      ...{ models, tasks: ["demo"], out: join(out, "evaluation"), restart: true },
      ...(options.limit !== undefined && { limit: Number(options.limit) }),
    },
    new AbortController().signal,
  ),
  () => undefined,
);
console.log("\n| model | MC | GEN | AVG | held-out error of the layers |\n|---|---|---|---|---|");
for (const { label, averages } of evaluation.subjects) {
  const cell = (mean: Mean | undefined) =>
    mean === undefined ? "" : `${(100 * mean.mean).toFixed(1)} ± ${(100 * (mean.standardError ?? 0)).toFixed(1)}`;
  const { mc, gen, avg } = averages;
  console.log(`| ${label} | ${cell(mc)} | ${cell(gen)} | ${cell(avg)} | ${errorsOf(join(out, label))} |`);
}

async function make(folder: string, method: Partial<CompressOptions>, tokens: number): Promise<void> {
  const began = performance.now();
  const calibration = {
    domain: ["general", "math", "code"].map((name) => `${name}=${join(demo, "data/calibration", `${name}.jsonl`)}`),
    ...{ mix: "general=0.34,math=0.33,code=0.33", sequences: 512, length: 128, seed },
  };
  const refit =
    tokens === 0
      ? {}
      : ({ reconstruct: options.parts as "down" | "down+up" | "all", reconstructTokens: tokens } as const);
  const target = { model: join(demo, "model"), out: folder, restart: true };
  await follow(compress({ ...target, ...calibration, ...method, ...refit }), () => undefined);
  console.error(`${folder}: ${((performance.now() - began) / 1000).toFixed(0)} s`);
}

/** Share of each layer's outputs that is lost on held-out calibration text, before and after, in per cent. */
function errorsOf(folder: string): string {
  const file = join(folder, "ream.json");
  if (!existsSync(file)) return "";
  const layers: RefittedLayer[] = JSON.parse(readFileSync(file, "utf8")).reconstruct?.layers ?? [];
  const percent = (share: number) => (100 * share).toFixed(2);
  return layers
    .map(({ before, after }) => `${percent(before.heldOut)} → ${percent((after ?? before).heldOut)}`)
    .join(", ");
}

interface RefittedLayer {
  readonly before: { readonly heldOut: number };
  readonly after?: { readonly heldOut: number };
}
