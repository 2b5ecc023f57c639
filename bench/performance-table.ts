/**
 * Prints docs/performance.md from the results of layer.ts and scaling.ts:
 *
 *     npm run build && node dist/bench/performance-table.js LAYER.json [SCALING.json] > docs/performance.md
 */
import { readFileSync } from "node:fs";
import { formatBytes, formatCount } from "../src/format.js";
import type { machine, spread } from "./run-ream.js";

type Spread = ReturnType<typeof spread>;

interface LayerResult {
  readonly name: string;
  readonly tokens: number;
  readonly threads: number;
  readonly backend: string;
  readonly seconds: { readonly ream: Spread; readonly pytorch?: Spread };
  readonly cpu: { readonly ream: Spread; readonly pytorch?: Spread };
  readonly peakMemory: number;
}

interface ScalingResult {
  readonly experts: number;
  readonly tokens: number;
  readonly layers: number;
  readonly threads: number;
  readonly seconds: number;
  readonly cpu: number;
  readonly peakMemory: number;
}

interface Results<T> {
  readonly machine: ReturnType<typeof machine>;
  readonly results: readonly T[];
}

const [, , layerFile, scalingFile] = process.argv;
if (layerFile === undefined) throw new Error("name the results of layer.ts");
const read = <T>(file: string) => JSON.parse(readFileSync(file, "utf8")) as Results<T>;
const row = (...cells: string[]) => `| ${cells.join(" | ")} |`;
const layer = read<LayerResult>(layerFile);

const lines = [
  "# Performance",
  "",
  "Made by `node dist/bench/layer.js --python PATH --out layer.json`, `node dist/bench/scaling.js --out scaling.json` and",
  "`node dist/bench/performance-table.js layer.json scaling.json > docs/performance.md`.",
  "",
  `${describe(layer)} ${layer.results[0]?.backend}.`,
  "Numbers are medians, with the least and the most in brackets where there were several rounds. The processor's time is that of all",
  "threads; where the load is more than the machine's cores, only it tells something, and ratios are of it.",
  "",
  "## One layer beside PyTorch",
  "",
  "Hidden 2048, 128 -> 96 experts of width 768, 8 for each token, 32 and 4 heads of 128, bfloat16, memory touched before. PyTorch does the",
  "work of the published code (`bench/official_layer.py`).",
  "",
  row("method", "tokens", "threads", "ream, s", "processor, s", "PyTorch, s", "processor, s", "ratio", "peak memory"),
  row(...Array<string>(9).fill("---")),
  ...layer.results.map(({ name, tokens, threads, seconds, cpu, peakMemory }) =>
    row(
      ...[name, formatCount(tokens), String(threads), text(seconds.ream), text(cpu.ream)],
      ...[text(seconds.pytorch), text(cpu.pytorch)],
      cpu.pytorch === undefined ? "" : (cpu.pytorch.median / cpu.ream.median).toFixed(2),
      formatBytes(peakMemory),
    ),
  ),
];
if (scalingFile !== undefined) {
  const scaling = read<ScalingResult>(scalingFile);
  lines.push(
    ...["", "## Growth", "", `Whole runs of \`ream\`, three quarters of the experts kept. ${describe(scaling)}`, ""],
    row("experts", "tokens", "layers", "threads", "seconds", "processor, s", "peak memory"),
    row(...Array<string>(7).fill("---")),
    ...scaling.results.map(({ experts, tokens, layers, threads, seconds, cpu, peakMemory }) =>
      row(
        ...[experts, formatCount(tokens), layers, threads].map(String),
        ...[seconds.toFixed(1), cpu.toFixed(1), formatBytes(peakMemory)],
      ),
    ),
  );
}
process.stdout.write(`${lines.join("\n")}\n`);

function describe({ machine }: Results<unknown>): string {
  const { processor, cores, memory, load, date } = machine;
  const size = memory === undefined ? "" : `, ${formatBytes(memory)}`;
  return `${processor}, ${cores} cores${size}; load ${load.toFixed(1)} at the end; ${date}.`;
}

function text(times: Spread | undefined): string {
  if (times === undefined) return "";
  const { median, least, most } = times;
  return least === most ? median.toFixed(1) : `${median.toFixed(1)} (${least.toFixed(1)}-${most.toFixed(1)})`;
}
