/**
 * Runs all benchmarks of the engine in their order and writes docs/performance.md:
 *
 *     npm run build && node dist/bench/performance.js [--python PATH] [--quick] [--rounds N] [--results FOLDER] [--only NAME,...] [--out FILE]
 *
 * About 25 minutes on two idle cores, with 10 GB of disk and 8 GB of memory for PyTorch; `--python` has torch, transformers and
 * scipy. `--quick` takes a few minutes: one round, less of everything, for seeing that all of it runs. Results stay in FOLDER as
 * JSON; with --only the page is made of new and old ones. `--rounds 1` is for machines on which PyTorch has no fast bfloat16: there a
 * round of the layer takes it ten minutes.
 */
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";

const { values: options } = parseArgs({
  options: {
    python: { type: "string" },
    quick: { type: "boolean", default: false },
    rounds: { type: "string" },
    results: { type: "string", default: "performance-results" },
    only: { type: "string" },
    out: { type: "string", default: "docs/performance.md" },
  },
});
const results = resolve(options.results);
const model = join(results, "model");
mkdirSync(results, { recursive: true });
const rounds = options.rounds === undefined ? [] : ["--rounds", options.rounds];
const peer = options.python === undefined ? [] : ["--python", options.python];
/** Scripts with their options: the usual ones, and those of --quick. */
const scripts: Readonly<Record<string, readonly [usual: string[], quick: string[]]>> = {
  products: [peer, [...peer, "--rounds", "1", "--seconds", "0.05"]],
  forward: [
    [...peer, "--model", model, ...rounds],
    [...peer, "--model", model, "--rounds", "1", "--sequences", "8"],
  ],
  layer: [
    [...peer, "--model", model, ...rounds],
    [...peer, "--model", model, "--rounds", "1", "--sequences", "2"],
  ],
  scaling: [[], ["--experts", "16", "--layers", "2", "--sequences", "2", "--quick"]],
};
const FILES: Readonly<Record<string, string>> = { products: "products-beside" };
const chosen = options.only?.split(",") ?? Object.keys(scripts);

// The index is written last.
if (!existsSync(join(model, "model.safetensors.index.json"))) run("synthetic", ["--out", model, "--layers", "3"]);
for (const name of chosen) {
  const args = scripts[name]?.[options.quick ? 1 : 0];
  if (args === undefined) throw new Error(`there is no benchmark ${name}`);
  run(FILES[name] ?? name, [...args, "--out", join(results, `${name}.json`)]);
}
const page = spawnSync(process.execPath, [script("performance-table"), results], {
  encoding: "utf8",
  stdio: ["ignore", "pipe", "inherit"],
});
if (page.status !== 0) throw new Error("the page could not be made");
writeFileSync(options.out, page.stdout);

function run(name: string, args: readonly string[]): void {
  console.error(`\n${name} ${args.join(" ")}`);
  const { status, signal } = spawnSync(process.execPath, [script(name), ...args], { stdio: "inherit" });
  if (status !== 0) throw new Error(`${name} ended with ${status ?? signal}`);
}

function script(name: string): string {
  return join(import.meta.dirname, `${name}.js`);
}
