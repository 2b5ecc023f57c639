/**
 * The tables of a study as docs/quality.md has them: scores of every mix and method, and the methods over all mixes.
 *
 *     npm run build && node dist/demo/study-tables.js STUDY/analysis.json [--to reap]
 *
 * `--to` names the method that the others are compared with, paired over the mixes.
 */
import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import type { Analysis, MethodPair, PointAnalysis, RatioAnalysis } from "../src/study/analysis/analysis.js";
import { mixKey } from "../src/study/mix.js";
import { markdownTable } from "./markdown-table.js";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { to: { type: "string", default: "reap" } },
});
const [path] = positionals;
if (path === undefined) throw new Error("usage: study-tables ANALYSIS.json");
const { original, ratios }: Analysis = JSON.parse(readFileSync(path, "utf8"));
for (const ratio of ratios) {
  console.log(`## ${ratio.experts} experts\n`);
  console.log(markdownTable(["mix", ...ratio.methods.map(({ method }) => `\`${method}\``)], mixRows(ratio)));
  if (original !== undefined) console.log(`\nMC / GEN / **AVG**; the original: ${scores(original)}\n`);
  console.log(
    markdownTable(
      [
        "",
        "hypervolume",
        "mean MC",
        "mean GEN",
        "mean AVG",
        "KL",
        `AVG, less that of \`${values.to}\` (95 %)`,
        "gap closed",
      ],
      methodRows(ratio),
    ),
  );
  console.log();
}

function mixRows({ methods, mixes, points }: RatioAnalysis): string[][] {
  return mixes.map((mix) => {
    const own = (method: string) =>
      points.find((point) => point.method === method && mixKey(point.mix) === mixKey(mix))!;
    const shares = Object.entries(mix).map(([domain, share]) => `${domain} ${Number(share.toFixed(2))}`);
    return [shares.join(", "), ...methods.map(({ method }) => pointScores(own(method)))];
  });
}

function methodRows({ methods, pairs, points }: RatioAnalysis): string[][] {
  return methods.map(({ method, hypervolume, mean, points: own }) => {
    const kl = own.map((index) => klOf(points[index]!)).filter((value) => value !== undefined);
    const both = [method, values.to];
    const pair = pairs.find(
      ({ first, second }) => method !== values.to && both.includes(first) && both.includes(second),
    );
    return [
      `\`${method}\``,
      spread(hypervolume, 0),
      ...[mean?.mc, mean?.gen, mean?.avg].map((estimate) => spread(estimate, 1)),
      kl.length === 0 ? "" : (kl.reduce((a, b) => a + b) / kl.length).toFixed(3),
      pair === undefined ? "" : difference(pair, method),
      pair === undefined ? "" : closed(pair, method),
    ];
  });
}

function difference({ first, mean: { avg } }: MethodPair, method: string): string {
  const sign = first === method ? 1 : -1;
  const [low, high] = (avg.interval ?? [avg.value, avg.value]).map((end) => sign * end).sort((a, b) => a - b);
  return `${signed(sign * avg.value)} (${signed(low!)} to ${signed(high!)})`;
}

/** Of what `--to` loses; where the pair is the other way round nothing is said of that. */
function closed({ second, closed: { avg } }: MethodPair, method: string): string {
  return avg === undefined || second !== method ? "" : `${(100 * avg.value).toFixed(0)} %`;
}

function klOf({ heldOut }: PointAnalysis): number | undefined {
  const all = Object.values(heldOut ?? {}).flatMap(({ kl }) => (kl === undefined ? [] : [kl]));
  return all.length === 0 ? undefined : all.reduce((a, b) => a + b) / all.length;
}

function pointScores({ scores: { mc, gen, avg } }: PointAnalysis): string {
  return scores({ mc: mc.value, gen: gen.value, avg: avg.value });
}

function scores({ mc, gen, avg }: { readonly mc: number; readonly gen: number; readonly avg: number }): string {
  return `${mc.toFixed(1)} / ${gen.toFixed(1)} / **${avg.toFixed(1)}**`;
}

function spread(
  estimate: { readonly value: number; readonly standardError?: number | undefined } | undefined,
  digits: number,
): string {
  if (estimate === undefined) return "";
  const error = estimate.standardError === undefined ? "" : ` ± ${estimate.standardError.toFixed(digits)}`;
  return `${estimate.value.toFixed(digits)}${error}`;
}

function signed(value: number): string {
  return `${value < 0 ? "-" : "+"}${Math.abs(value).toFixed(1)}`;
}
