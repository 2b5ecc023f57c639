/** What was aimed at, beside what was reached. Times are those that passed, so that they mean something on an idle machine only. */
import { formatBytes } from "../src/format.js";
import type { ForwardResult, LayerResult, ProductResult, ScalingResult } from "./results.js";

export interface Bar {
  readonly what: string;
  readonly aim: string;
  /** Undefined: not measured. */
  readonly reached: string | undefined;
  readonly met: boolean;
}

export interface Measured {
  readonly products: readonly ProductResult[];
  readonly forward: readonly ForwardResult[];
  readonly layer: readonly LayerResult[];
  readonly scaling: readonly ScalingResult[];
}

export function bars({ products, forward, layer, scaling }: Measured): Bar[] {
  const where = (precision: string, threads: number, rows: readonly number[]) =>
    products.filter((p) => p.precision === precision && p.threads === threads && rows.includes(p.rows));
  const share = (threads: number) =>
    where("bf16", threads, [256, 1024]).map(({ shareOfPeak }) => shareOfPeak.wall.median);
  const ratios = (precision: string, threads: number, rows: readonly number[]) =>
    where(precision, threads, rows).flatMap(({ ratio }) => (ratio === undefined ? [] : [ratio.wall.median]));
  const all = [16, 32, 64, 256, 1024];
  const of = (name: string, tokens: (counts: number[]) => number) => {
    const named = layer.filter((result) => result.name === name);
    return named.find((result) => result.tokens === tokens(named.map((each) => each.tokens)));
  };
  const least = (counts: number[]) => Math.min(...counts);
  const most = (counts: number[]) => Math.max(...counts);
  const sampled = "ream, sampled";
  const line = lineOf(of(sampled, least), of(sampled, most));
  const official = of("ream-official", least);
  const reap = of("reap", least);
  const against = (result: LayerResult | undefined) =>
    result?.seconds.pytorch && result.seconds.pytorch.median / result.seconds.ream.median;
  const [run] = forward;
  const first = scaling[0];
  const changed = (change: (run: ScalingResult, first: ScalingResult) => boolean) =>
    first && scaling.slice(1).find((run) => change(run, first));
  const longer = changed((run, { layers, tokens }) => run.layers > layers && run.tokens === tokens);
  const twice = changed((run, { layers, tokens }) => run.layers === layers && run.tokens === 2 * tokens);
  const large = scaling.find(({ tokens, experts }) => tokens === 32_768 && experts === 128);
  return [
    atLeast("Products bf16, 256 and 1,024 rows, of the kernels' peak, one thread", 0.9, share(1), "least shape"),
    atLeast("the same, two threads", 0.88, share(2), "least shape"),
    atLeast("Products bf16, 1,024 rows, beside torch, one thread", 0.98, ratios("bf16", 1, [1024]), "least shape"),
    atLeast("the same, two threads", 0.98, ratios("bf16", 2, [1024]), "least shape"),
    atLeast("Products bf16, 256 rows, beside torch, two threads", 1.15, ratios("bf16", 2, [256]), "least shape"),
    atLeast(
      "Products bf16, 16 to 64 rows, beside torch, two threads",
      1.5,
      ratios("bf16", 2, [16, 32, 64]),
      "least shape",
    ),
    atLeast("Products f32 beside torch, one thread", 1.8, ratios("f32", 1, all), "least shape"),
    atLeast("the same, two threads", 1.8, ratios("f32", 2, all), "least shape"),
    atLeast("Forward of two layers beside transformers", 1.8, run?.pytorch && [run.ream.median / run.pytorch.median]),
    atLeast("`ream-official` beside the published work, a layer", 2.8, numbers(against(official))),
    atLeast("`reap` beside every expert on every token, a layer", 8, numbers(against(reap))),
    atMost(
      "`ream`, sampled, each token more, beside 2.22 ms / 8",
      2.22 / 8,
      line && 1000 * line.token,
      (ms) => `${ms.toFixed(2)} ms`,
    ),
    atMost("`ream`, sampled, fixed, a layer", 1.5, line?.fixed, (seconds) => `${seconds.toFixed(1)} s`),
    atMost("Peak memory of a layer of 128 experts, 32,768 tokens", 3e9, large?.peakMemory, formatBytes),
    atMost(
      `${longer?.layers ?? 12} layers beside ${first?.layers ?? 2}, memory more`,
      300e6,
      longer && longer.peakMemory - first!.peakMemory,
      (bytes) => (bytes < 0 ? "none" : formatBytes(bytes)),
    ),
    atMost(
      "Time of 12 layers beside one",
      12.5,
      longer && (12 * longer.seconds * first!.layers) / longer.layers / first!.seconds,
      (ratio) => ratio.toFixed(1),
    ),
    atMost("Time of twice the tokens", 2.1, twice && twice.seconds / first!.seconds, (ratio) => ratio.toFixed(2)),
  ];
}

/** Seconds a layer takes however few tokens there are, and for each token more, of two numbers of tokens. */
export function lineOf(few: LayerResult | undefined, many: LayerResult | undefined) {
  if (few === undefined || many === undefined || few.tokens === many.tokens) return undefined;
  const token = (many.seconds.ream.median - few.seconds.ream.median) / (many.tokens - few.tokens);
  return { token, fixed: few.seconds.ream.median - token * few.tokens };
}

function numbers(value: number | undefined): number[] | undefined {
  return value === undefined ? undefined : [value];
}

/** @param note of which of several values the least is told */
function atLeast(what: string, aim: number, values: readonly number[] | undefined, note?: string): Bar {
  const least = values === undefined || values.length === 0 ? undefined : Math.min(...values);
  const reached = least?.toFixed(2);
  const told = reached === undefined || note === undefined ? reached : `${reached} (${note})`;
  return { what, aim: `at least ${aim}`, reached: told, met: least !== undefined && least >= aim };
}

function atMost(what: string, aim: number, value: number | undefined, format: (value: number) => string): Bar {
  const reached = value === undefined ? undefined : format(value);
  return { what, aim: `at most ${format(aim)}`, reached, met: value !== undefined && value <= aim };
}
