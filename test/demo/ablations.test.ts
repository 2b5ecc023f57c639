import { expect, test } from "vitest";
import { plotRows } from "../../demo/ablations/plot.js";
import { type Made, rowsOf, tableOf } from "../../demo/ablations/results.js";
import { labelOf, variantsOf } from "../../demo/ablations/variants.js";
import type { DetailedEvaluation } from "../../src/evaluate/run/evaluate.js";

test("every variant has a folder of its own, and its number of tokens", () => {
  const variants = variantsOf([8192, 65_536, 524_288], 65_536);
  const labels = variants.map(labelOf);
  expect(new Set(labels).size).toBe(labels.length);
  expect(labels).toContain("every-expert-down-up-65536");
  expect(labels).toContain("524-288-tokens");
  expect(variants.filter(({ group }) => group === "tokens").map(({ tokens }) => tokens)).toEqual([8192, 524_288]);
  expect(labels.find((label) => !/^[a-z0-9.-]+$/.test(label))).toBeUndefined();
});

/** An evaluation of models that answer so many of ten questions of each suite. */
function evaluationOf(right: readonly (readonly [mc: number, gen: number])[]): DetailedEvaluation {
  const task = (name: string, suite: "mc" | "gen", count: number) => ({
    ...{ name, suite, primary: "acc" },
    items: Array.from({ length: 10 }, (_, docId) => {
      return { task: name, docId, digest: "", parts: [docId < count ? 1 : 0], answer: "" };
    }),
  });
  const subjects = right.map(([mc, gen], i) => {
    const mean = (count: number) => ({ mean: count / 10 });
    return { label: `${i}`, averages: { mc: mean(mc), gen: mean(gen), avg: { mean: (mc + gen) / 20 } } };
  });
  const judged = right.map(([mc, gen]) => [task("facts", "mc", mc), task("sums", "gen", gen)]);
  return { evaluation: { subjects }, judged } as unknown as DetailedEvaluation;
}

test("variants are compared with the plain one, and told how much of the gap they close", () => {
  const made: Made[] = [
    { name: "original", group: undefined, errors: [], seconds: undefined },
    { name: "plain", group: "experts and matrices", errors: [], seconds: 3 },
    { name: "all, down", group: "experts and matrices", errors: [0.02, 0.0051], seconds: 41.6 },
  ];
  const evaluation = evaluationOf([
    [10, 10],
    [8, 4],
    [8, 8],
  ]);
  const rows = rowsOf(evaluation, made);
  expect(rows.map(({ avg }) => avg.value)).toEqual([100, 60, 80]);
  expect(rows[2]).toMatchObject({ gain: { value: 20 }, closed: 0.5 });
  expect(rows[1]!.gain).toBeUndefined();
  // Both answer the same multiple choices: only what differs has an error.
  expect(rows[2]!.gain!.standardError).toBeLessThan(rows[2]!.avg.standardError!);
  const last = tableOf(rows).split("\n").at(-1)!;
  expect(last).toMatch(/^\| experts and matrices \| all, down \| 80\.0 ± .* \| 50 % \| 2\.00, 0\.51 \| 42 \|$/);
  expect(plotRows(rows)).toContain("all, down");
});
