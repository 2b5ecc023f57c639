/**
 * Prints docs/performance.md from the results that performance.ts leaves in a folder:
 *
 *     npm run build && node dist/bench/performance-table.js FOLDER > docs/performance.md
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { METHODS, sampledTokens } from "../src/compress/settings.js";
import { formatBytes, formatCount } from "../src/format.js";
import { bars, lineOf } from "./bars.js";
import { MODELS, modelBytes, modelSeconds, perToken } from "./extrapolate.js";
import {
  type ForwardResult,
  type LayerResult,
  type ProductResult,
  type Results,
  readResults,
  type ScalingResult,
  type Spread,
} from "./results.js";

/** Of the paper: 3,072 sequences of 512 tokens. */
const TOKENS = 1_572_864;
/** Tokens of the sample that mean outputs come from by default. */
const MEAN_TOKENS = sampledTokens(METHODS.ream.settings)!;
/** An example of where `--calibration-tokens auto` may end. */
const ENOUGH = 131_072;

const [, , folder] = process.argv;
if (folder === undefined) throw new Error("name the folder of the results");
const read = <T>(name: string): Results<T> | undefined => {
  const file = join(folder, `${name}.json`);
  return existsSync(file) ? readResults<T>(file) : undefined;
};
const products = read<ProductResult>("products");
const forward = read<ForwardResult>("forward");
const layer = read<LayerResult>("layer");
const scaling = read<ScalingResult>("scaling");
if (layer === undefined) throw new Error(`there is no layer.json in ${folder}`);

const lines = [
  ...["# Performance", ""],
  "Made by `npm run build && node dist/bench/performance.js --python PATH`, on a machine that does nothing else.",
  ...["", `${describe(layer)} ${layer.results[0]?.backend}.`, ""],
  "Numbers are medians, with the least and the most in brackets where there were several rounds. Processor: time of all threads. Where",
  "the load is more than the machine's cores, only ratios of the processor's time tell something.",
  ...["", "## What was aimed at", ""],
  ...["Why some of it is not reached, and what was: [engine.md](engine.md#speed).", ""],
  row("", "aim", "reached", ""),
  row(...Array<string>(4).fill("---")),
  ...bars({
    products: products?.results ?? [],
    forward: forward?.results ?? [],
    layer: layer.results,
    scaling: scaling?.results ?? [],
  }).map(({ what, aim, reached, met }) =>
    row(what, aim, reached ?? "not measured", reached === undefined ? "" : met ? "met" : "**not met**"),
  ),
  ...productLines(),
  ...forwardLines(),
  ...layerLines(layer),
  ...scalingLines(),
  ...extrapolationLines(layer.results),
];
process.stdout.write(`${lines.join("\n")}\n`);

function productLines(): string[] {
  if (products === undefined) return [];
  return [
    ...["", "## Products", ""],
    "GFLOP/s of rows times one expert's weights, which come from memory, beside torch (oneDNN) in the same run, in turns. Peak: the",
    "kernels on what lies in the first-level cache. Shares and ratios are of the time that passed, in brackets of the processor's.",
    ...["", row("", "threads", "rows", "weight", "ream", "torch", "ratio", "peak", "share of it")],
    row(...Array<string>(9).fill("---")),
    ...products.results.map((result) => {
      const { precision, threads, rows, columns, outputs, ream, torch, ratio, peak, shareOfPeak } = result;
      const both = (value: { wall: Spread; cpu: Spread } | undefined) =>
        value && `${value.wall.median.toFixed(2)} (${value.cpu.median.toFixed(2)})`;
      return row(
        ...[precision, String(threads), formatCount(rows), `${columns} -> ${outputs}`, text(ream, 0), text(torch, 0)],
        ...[both(ratio) ?? "", text(peak, 0), both(shareOfPeak)!],
      );
    }),
  ];
}

function forwardLines(): string[] {
  if (forward === undefined) return [];
  return [
    ...["", "## Ordinary forward pass", ""],
    ...[`Two of these layers, bfloat16, tokens per second.${otherDtype(forward.results)}`, ""],
    row("tokens", "threads", "ream", "transformers", "per second of the processor: ream", "transformers"),
    row(...Array<string>(6).fill("---")),
    ...forward.results.map(({ tokens, threads, ream, reamCpu, pytorch, pytorchCpu }) =>
      row(
        ...[formatCount(tokens), String(threads), text(ream, 0), text(pytorch, 0)],
        ...[text(reamCpu, 0), text(pytorchCpu, 0)],
      ),
    ),
  ];
}

/** Says so where PyTorch computes in another dtype. */
function otherDtype(results: readonly { readonly pytorchDtype?: string }[]): string {
  const other = results.some(({ pytorchDtype }) => pytorchDtype === "float32");
  return other ? " PyTorch computes in float32, which is the faster of the two for it here." : "";
}

function layerLines({ results }: Results<LayerResult>): string[] {
  return [
    ...["", "## One layer beside PyTorch", ""],
    "Hidden 2048, 128 -> 96 experts of width 768, 8 for each token, 32 and 4 heads of 128, bfloat16, memory touched before. PyTorch does",
    `the work of the published code (\`bench/official_layer.py\`); for \`reap\` it runs every expert on every token, as REAP's observer.${otherDtype(results)}`,
    ...[
      "",
      row("method", "tokens", "threads", "ream, s", "processor, s", "PyTorch, s", "processor, s", "ratio", "memory"),
    ],
    row(...Array<string>(9).fill("---")),
    ...results.map(({ name, tokens, threads, seconds, cpu, peakMemory }) =>
      row(
        ...[name, formatCount(tokens), String(threads), text(seconds.ream), text(cpu.ream)],
        ...[text(seconds.pytorch), text(cpu.pytorch)],
        seconds.pytorch === undefined
          ? ""
          : `${(seconds.pytorch.median / seconds.ream.median).toFixed(2)} (${(cpu.pytorch!.median / cpu.ream.median).toFixed(2)})`,
        formatBytes(peakMemory),
      ),
    ),
    ...[
      "",
      "Ratios are of the time that passed, in brackets of the processor's. Memory is the peak of a run of three layers.",
    ],
  ];
}

function scalingLines(): string[] {
  if (scaling === undefined) return [];
  return [
    ...["", "## Growth", "", `Whole runs of \`ream\`, three quarters of the experts kept. ${describe(scaling)}`, ""],
    row("experts", "tokens", "mean outputs of", "layers", "threads", "seconds", "processor, s", "peak memory"),
    row(...Array<string>(8).fill("---")),
    ...scaling.results.map(({ experts, tokens, meanTokens, layers, threads, seconds, cpu, peakMemory }) =>
      row(
        ...[experts, formatCount(tokens), formatCount(meanTokens || tokens), layers, threads].map(String),
        ...[seconds.toFixed(1), cpu.toFixed(1), formatBytes(peakMemory)],
      ),
    ),
  ];
}

function extrapolationLines(results: readonly LayerResult[]): string[] {
  const by = (name: string) => results.filter((result) => result.name === name).sort((a, b) => a.tokens - b.tokens);
  const line = (name: string) => lineOf(by(name)[0], by(name).at(-1));
  const [exact, sampled] = [line("ream, all tokens"), line("ream, sampled")];
  const official = officialLine(by("ream-official")[0]);
  if (exact === undefined || sampled === undefined) return [];
  const rows = MODELS.flatMap((shape) => {
    const one = (means: boolean) => (own: typeof shape) => {
      const { forward, means: all, align } = perToken(own);
      return { all: forward + (means ? all : 0), sampled: align };
    };
    const whole = modelSeconds(shape, exact, TOKENS, one(true));
    // Forward for all tokens, the means for some: their price is the difference of the two lines.
    const some = (tokens: number) => {
      const all = modelSeconds(shape, sampled, tokens, one(false));
      const means = perToken(shape).means * Math.min(tokens, MEAN_TOKENS) * shape.layers;
      return all + (means * exact.token) / speedOf(one(true));
    };
    const bytes = (tokens: number) => modelBytes(shape, tokens);
    const published =
      official && modelSeconds(shape, official, TOKENS, (own) => ({ all: perToken(own).official, sampled: 0 }));
    const line = (name: string, tokens: number, seconds: number, memory: string) =>
      row(shape.name, name, formatCount(tokens), hours(seconds), memory, formatBytes(bytes(tokens).output));
    return [
      line("`--statistics exact`", TOKENS, whole, formatBytes(bytes(TOKENS).memory)),
      line("`ream` (sampled)", TOKENS, some(TOKENS), formatBytes(bytes(TOKENS).memory)),
      line(
        `\`--calibration-tokens auto\`, if ${formatCount(ENOUGH)} are enough`,
        ENOUGH,
        (1 + 4 / shape.layers) * some(ENOUGH),
        formatBytes(bytes(ENOUGH).memory),
      ),
      ...(published === undefined
        ? []
        : [line("published code", TOKENS, published, `more than ${formatBytes(bytes(TOKENS).model)}`)]),
    ];
  });
  return [
    ...["", "## Whole models, by these costs", ""],
    "**Not measured**: seconds of the layer above, those per token by the multiplications of a token, those of a layer by its experts'",
    "weights (`bench/extrapolate.ts`). Memory as `ream inspect` estimates it, disk is the output. With `auto`, rounds with fewer",
    `tokens are given up after four layers, which is added. The default takes mean outputs of ${formatCount(MEAN_TOKENS)} tokens. The published code`,
    "holds the whole model.",
    ...["", row("model", "", "tokens", "time", "memory", "disk"), row(...Array<string>(6).fill("---")), ...rows],
  ];

  function speedOf(count: (shape: (typeof MODELS)[number]) => { all: number; sampled: number }): number {
    const { all, sampled } = count(MODELS[0]!);
    return all + sampled;
  }
}

/** What the published work takes for each token, and once a layer. */
function officialLine(result: LayerResult | undefined) {
  const parts = result?.parts.pytorch?.seconds;
  if (parts === undefined) return undefined;
  const sum = (...names: string[]) => names.reduce((total, name) => total + (parts[name] ?? 0), 0);
  return {
    token: sum("forward", "experts", "saliency", "handOn") / result!.tokens,
    fixed: sum("weights", "pca", "similarity", "merge"),
  };
}

function hours(seconds: number): string {
  return seconds < 7200 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(seconds < 36e4 ? 1 : 0)} h`;
}

function row(...cells: string[]): string {
  return `| ${cells.join(" | ")} |`;
}

function describe({ machine }: Results<unknown>): string {
  const { processor, cores, memory, load, date } = machine;
  const size = memory === undefined ? "" : `, ${formatBytes(memory)}`;
  return `${processor}, ${cores} cores${size}; load ${load.toFixed(1)} at the end; ${date}.`;
}

function text(values: Spread | undefined, digits = 1): string {
  if (values === undefined) return "";
  const { median, least, most } = values;
  const [middle, low, high] = [median, least, most].map((value) => value.toFixed(digits));
  return least === most ? middle! : `${middle} (${low}-${high})`;
}
