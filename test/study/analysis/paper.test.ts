import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { analyse } from "../../../src/study/analysis/analyse.js";
import type { Correlation } from "../../../src/study/analysis/correlation.js";
import { hypervolume } from "../../../src/study/analysis/hypervolume.js";
import { referencePoint } from "../../../src/study/analysis/reference.js";
import { paperResults } from "../../../src/study/paper-results.js";
import { GOLDENS, readJson } from "../../support/goldens.js";

interface Published {
  readonly hypervolume: Record<string, Record<string, [volume: number, optimal: number]>>;
  readonly correlations: Record<string, Record<string, Record<string, number>>>;
}

const published = readJson<Published>(join(GOLDENS, "paper/results.json"));
const results = paperResults(published);
const analysis = analyse(results);
const ratio = (experts: number) => analysis.ratios.find((one) => one.experts === experts)!;
const method = (experts: number, name: string) => ratio(experts).methods.find((one) => one.method === name)!;

const hypervolumes = Object.entries(published.hypervolume).flatMap(([experts, methods]) =>
  Object.entries(methods).map(([name, [volume, optimal]]) => ({ experts: Number(experts), name, volume, optimal })),
);

describe("the paper's tables", () => {
  test("are the two ratios with four methods, ten mixes and an original", () => {
    expect(
      analysis.ratios.map(({ experts, share, points, mixes }) => [experts, share, points.length, mixes.length]),
    ).toEqual([
      [96, 0.75, 43, 10],
      [64, 0.5, 41, 10],
    ]);
    expect(ratio(96).methods.map((one) => one.method)).toEqual(["Freq", "REAP", "HC-SMoE", "REAM"]);
    // GEN is printed as 70.9.
    expect(analysis.original).toMatchObject({ mc: 69.7, gen: expect.closeTo(70.9, 1) });
    // The mixes of one domain were tried with REAM alone.
    const alone = ratio(96).points.filter(({ compared }) => !compared);
    expect(alone.map((point) => [point.method, Math.max(...Object.values(point.mix))])).toEqual([
      ["REAM", 1],
      ["REAM", 1],
      ["REAM", 1],
    ]);
    expect(ratio(96).uncertainty).toBeUndefined();
  });

  test.each(hypervolumes)(
    "$name with $experts experts has the published hypervolume $volume",
    ({ experts, name, volume }) => {
      expect(Math.abs(method(experts, name).hypervolume!.value - volume)).toBeLessThan(0.4);
    },
  );

  test.each(hypervolumes)("$name with $experts experts has $optimal optimal mixes", ({ experts, name, optimal }) => {
    expect(method(experts, name).optimal).toMatchObject({ own: optimal, of: 10 });
  });

  const correlations = Object.entries(published.correlations["96"]!).flatMap(([name, values]) =>
    Object.entries(values).map(([pair, r]) => ({ name, pair, r })),
  );
  test.each(correlations)("$name: $pair correlates with $r", ({ name, pair, r }) => {
    const { shares, mcGen } = method(96, name).correlations;
    const [domain, score] = pair.split("_") as [string, "mc" | "gen"];
    const found = (pair === "mc_gen" ? mcGen : shares[domain]![score]) as Correlation;
    expect(found.n).toBe(10);
    expect(Math.abs(found.r - r)).toBeLessThan(0.02);
  });
});

describe("other readings of the reference point do not give the published hypervolumes", () => {
  const places = (experts: number, compared: boolean) =>
    ratio(experts)
      .points.filter((point) => point.compared || !compared)
      .map(({ method, scores }) => ({ method, mc: scores.mc.value, gen: scores.gen.value }));
  const furthest = (experts: number, reference: { mc: number; gen: number }, compared = true) =>
    Math.max(
      ...hypervolumes
        .filter((one) => one.experts === experts)
        .map(({ name, volume }) => {
          const own = places(experts, compared).filter((point) => point.method === name);
          return Math.abs(hypervolume(own, reference) - volume);
        }),
    );

  test("the chosen one does", () => {
    expect(ratio(96).reference).toEqual({ mc: 45.6, gen: 27.9 });
    expect(ratio(64).reference).toEqual({ mc: 35.5, gen: 17.5 });
    for (const experts of [96, 64]) expect(furthest(experts, ratio(experts).reference!)).toBeLessThan(0.4);
  });

  test("over both ratios", () => {
    expect(furthest(96, referencePoint([...places(96, true), ...places(64, true)]))).toBeGreaterThan(600);
  });

  test("at the minima themselves", () => {
    expect(furthest(96, referencePoint(places(96, true), 0))).toBeGreaterThan(50);
    expect(furthest(64, referencePoint(places(64, true), 0))).toBeGreaterThan(45);
  });

  test("with the mixes of one domain, which REAM alone was tried with", () => {
    expect(furthest(96, referencePoint(places(96, false)), false)).toBeGreaterThan(2.5);
    expect(furthest(64, referencePoint(places(64, false)), false)).toBeGreaterThan(40);
  });

  test("of each method alone", () => {
    const own = places(96, true).filter((point) => point.method === "REAM");
    expect(Math.abs(hypervolume(own, referencePoint(own)) - 920.3)).toBeGreaterThan(600);
  });
});
