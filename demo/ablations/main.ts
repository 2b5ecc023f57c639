/**
 * What each choice in refitting layers wins: merged experts alone or all of them, which matrices, fitted routers, the
 * number of tokens, of epochs, the strength of the ridge (docs/quality.md).
 *
 *     npm run build && node dist/demo/ablations/main.js [--out FOLDER] [--model FOLDER] [--limit ITEMS] [--docs]
 *
 * All variants have one plan, that of `ream`, so that they differ in the refit alone. Models that are in FOLDER are taken as
 * they are, and no question is asked twice: the same command goes on. Table, results and plot go to FOLDER/results, with
 * `--docs` to docs/quality too.
 */
import { existsSync, readFileSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { cpus } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { writeJsonFile } from "../../src/checkpoint/durable.js";
import { createNativeBackend } from "../../src/engine/native/native-backend.js";
import { evaluateItems } from "../../src/evaluate/run/evaluate.js";
import { packageFolder } from "../../src/package-folder.js";
import { type CompressResult, compress } from "../../src/pipeline/compress.js";
import { follow } from "../../src/pipeline/follow.js";
import type { CompressOptions } from "../../src/pipeline/options.js";
import { buildWorld } from "../world/build.js";
import { plotRows } from "./plot.js";
import { type Made, rowsOf, tableOf } from "./results.js";
import { labelOf, type Variant, variantsOf } from "./variants.js";

const LENGTH = 128;

const { values: given } = parseArgs({
  options: {
    out: { type: "string", default: "ablations" },
    model: { type: "string", default: join(packageFolder(), "demo", "model") },
    experts: { type: "string", default: "48" },
    tokens: { type: "string", default: "8192,32768,131072,524288" },
    usual: { type: "string", default: "65536" },
    seed: { type: "string", default: "0" },
    limit: { type: "string" },
    docs: { type: "boolean", default: false },
  },
});
const out = resolve(given.out);
const [experts, usual, seed] = [Number(given.experts), Number(given.usual), Number(given.seed)];
const variants = variantsOf(given.tokens.split(",").map(Number), usual);
await mkdir(join(out, "models"), { recursive: true });

// The repository has the first 2,500 texts of each domain, which are too few for the most tokens.
const world = join(out, "world");
if (!existsSync(join(world, "heldout", "code.jsonl"))) await buildWorld(world, 0);
const calibrationOf = (tokens: number) => ({
  domain: ["general", "math", "code"].map((name) => `${name}=${join(world, "calibration", `${name}.jsonl`)}`),
  ...{ mix: "general=0.34,math=0.33,code=0.33", sequences: Math.ceil(tokens / LENGTH), length: LENGTH, seed },
});

const plan = join(out, "plan.json");
if (!existsSync(plan)) {
  const planned = await run({ ...calibrationOf(usual), model: given.model, method: "ream", experts, dryRun: true });
  await writeJsonFile(plan, { plan: planned.plan });
}
const made: Made[] = [{ name: "original", group: undefined, errors: [], seconds: undefined }];
for (const variant of variants) made.push(await make(variant));

const models = variants.map((variant) => `${labelOf(variant)}=${folderOf(variant)}`);
const detailed = await follow(
  evaluateItems(
    {
      ...{ models: [`original=${given.model}`, ...models], tasks: ["demo"], out: join(out, "evaluation") },
      ...(given.limit !== undefined && { limit: Number(given.limit) }),
    },
    new AbortController().signal,
  ),
  () => undefined,
);
const rows = rowsOf(detailed, made);
const { description } = createNativeBackend({ precision: "bf16" });
const about = { experts, seed, usual, limit: given.limit, machine: `${cpus()[0]?.model ?? "unknown"}, ${description}` };
for (const folder of [join(out, "results"), ...(given.docs ? [join(packageFolder(), "docs", "quality")] : [])]) {
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, "ablations.json"), `${JSON.stringify({ about, rows }, null, 2)}\n`);
  await writeFile(join(folder, "ablations-table.md"), `${tableOf(rows)}\n`);
  await writeFile(join(folder, "ablations.svg"), plotRows(rows));
}
console.log(tableOf(rows));

function folderOf(variant: Variant): string {
  return join(out, "models", labelOf(variant));
}

/** Makes a variant's model, unless it is there. */
async function make(variant: Variant): Promise<Made> {
  const { name, group, options, tokens } = variant;
  const folder = folderOf(variant);
  const costs = `${folder}.json`;
  if (!existsSync(folder)) {
    console.error(name);
    const before = process.cpuUsage();
    const refit = options.reconstruct === undefined ? {} : { reconstructTokens: tokens };
    await run({ ...calibrationOf(tokens ?? usual), ...options, ...refit, plan, model: given.model, out: folder });
    const { user, system } = process.cpuUsage(before);
    await writeJsonFile(costs, { seconds: (user + system) / 1e6 });
  }
  const seconds: number | undefined = existsSync(costs) ? JSON.parse(readFileSync(costs, "utf8")).seconds : undefined;
  return { name, group, seconds, errors: errorsOf(folder) };
}

/** Shares of each layer's squared outputs that are lost on held-out calibration text. */
function errorsOf(folder: string): number[] {
  const layers: RefittedLayer[] = JSON.parse(readFileSync(join(folder, "ream.json"), "utf8")).reconstruct?.layers ?? [];
  return layers.flatMap(({ before, after }) => (after ?? before)?.heldOut ?? []);
}

interface RefittedLayer {
  readonly before?: { readonly heldOut: number };
  readonly after?: { readonly heldOut: number };
}

function run(options: CompressOptions): Promise<CompressResult> {
  return follow(compress(options), () => undefined);
}
