import { describe, expect, test } from "vitest";
import { Random } from "../../../src/random.js";
import { analyse } from "../../../src/study/analysis/analyse.js";
import { itemsOf, type StudyItems } from "../../../src/study/items.js";
import type { Row } from "../../../src/study/results.js";
import { row, study } from "./points.js";

const EVEN = { a: 0.5, b: 0.5 };
const A = { a: 1 };
const B = { b: 1 };
const original = { mc: 70, gen: 70, avg: 70, tasks: {} };

describe("an analysis", () => {
  const results = study(
    [
      row("REAP", EVEN, 60, 60),
      row("REAP", A, 64, 50),
      row("REAM", EVEN, 62, 60),
      row("REAM", A, 64, 52),
      row("REAM", B, 50, 68),
      row("Uniform", {}, 69, 69),
      row("REAM", EVEN, 40, 40, { experts: 64 }),
    ],
    { original },
  );
  const { ratios } = analyse(results);

  test("has one part for each ratio", () => {
    expect(ratios.map(({ experts, share }) => [experts, share])).toEqual([
      [96, 0.75],
      [64, 0.5],
    ]);
    expect(ratios[1]).toMatchObject({ reference: { mc: 39, gen: 39 }, pairs: [] });
    expect(ratios[1]!.methods[0]).toMatchObject({ optimal: { own: 1, common: 1, of: 1 }, hypervolume: { value: 1 } });
  });

  test("compares methods over the mixes that all were tried with", () => {
    const [ratio] = ratios;
    expect(ratio!.points.map(({ compared }) => compared)).toEqual([true, true, true, true, false, false]);
    expect(ratio!.mixes).toEqual([EVEN, A]);
    expect(ratio!.reference).toEqual({ mc: 59, gen: 49 });
    expect(ratio!.frontier).toEqual([2, 3]);
    expect(ratio!.methods).toMatchObject([
      { method: "REAP", points: [0, 1], frontier: [0, 1], best: 0, optimal: { own: 2, common: 0, of: 2 } },
      { method: "REAM", points: [2, 3], frontier: [2, 3], best: 2, optimal: { own: 2, common: 2, of: 2 } },
    ]);
    const volumes = [1 * 11 + 4 * 1, 3 * 11 + 2 * 3];
    expect(ratio!.methods.map(({ hypervolume }) => hypervolume!.value)).toEqual(volumes);
    expect(ratio!.pairs).toMatchObject([
      { first: "REAP", second: "REAM", hypervolume: { value: volumes[0]! - volumes[1]! }, mean: { mc: { value: -1 } } },
    ]);
    // REAP loses 8 and 15 points of 70 in its means, REAM 7 and 14.
    expect(ratio!.pairs[0]!.closed).toMatchObject({
      mc: { value: expect.closeTo(1 / 8, 12) },
      gen: { value: expect.closeTo(1 / 15, 12) },
      avg: { value: expect.closeTo(1 / 11.5, 12) },
    });
  });

  test("finds the best of all, compared or not, and what changed", () => {
    const [ratio] = ratios;
    expect(ratio!.best).toBe(5);
    expect(ratio!.points[4]!.change).toMatchObject({ mc: { value: -20 }, gen: { value: -2 }, avg: { value: -11 } });
    expect(ratio!.uncertainty).toBeUndefined();
  });

  test("tells no share of a gap that is none", () => {
    const rows = [row("REAP", A, 70, 60), row("REAM", A, 60, 65)];
    const [pair] = analyse(study(rows, { original })).ratios[0]!.pairs;
    expect(pair!.closed).toMatchObject({ gen: { value: 0.5 }, avg: { value: -0.5 } });
    expect(pair!.closed).not.toHaveProperty("mc");
    expect(analyse(study(rows)).ratios[0]!.pairs[0]!.closed).toEqual({});
  });

  test("of methods without a common mix compares none", () => {
    const [ratio] = analyse(study([row("REAP", A, 60, 60), row("REAM", B, 62, 60)])).ratios;
    expect(ratio).toMatchObject({ mixes: [], reference: undefined, frontier: [], pairs: [], best: 1, predictors: [] });
    expect(ratio!.methods[0]).toMatchObject({ optimal: { of: 0 }, hypervolume: undefined, best: undefined });
  });

  test("takes the mean over seeds", () => {
    const rows = [row("REAM", A, 60, 50, { seed: 1 }), row("REAM", B, 50, 50), row("REAM", A, 64, 52, { seed: 2 })];
    const [ratio] = analyse(study(rows)).ratios;
    expect(ratio!.points.map((point) => [point.rows, point.scores.mc.value])).toEqual([
      [[0, 2], 62],
      [[1], 50],
    ]);
  });

  test("does not depend on the order of the rows", () => {
    const rows = [...results.rows];
    const turned = analyse({ ...results, rows: rows.reverse() }).ratios[0]!;
    const volumes = (methods: typeof turned.methods) => new Map(methods.map((one) => [one.method, one.hypervolume]));
    expect(volumes(turned.methods)).toEqual(volumes(ratios[0]!.methods));
    expect(turned.reference).toEqual(ratios[0]!.reference);
  });

  test("ranks by held-out measures, by domain and in their mean", () => {
    const measured = [0.3, 0.1, 0.2].map((kl, i): Row => {
      const heldOut = { a: { kl, agreement: 1 - kl }, b: { kl: 0.2 } };
      return row("REAM", { a: i / 2, b: 1 - i / 2 }, 60 + i, 60, { heldOut, rank: [5, 7, 9][i]! });
    });
    const [ratio] = analyse(study(measured)).ratios;
    expect(ratio!.predictors.map(({ measure, domain, quality }) => [measure, domain, quality.chosen])).toEqual([
      ["kl", "a", 1],
      ["kl", "b", 0],
      ["kl", undefined, 1],
      ["agreement", "a", 1],
      ["rank", undefined, 2],
    ]);
    expect(ratio!.predictors[4]!.quality).toMatchObject({ regret: 0, spearman: expect.closeTo(1, 12) });
    expect(ratio!.predictors[0]!.quality).toMatchObject({ regret: 0.5, spearman: expect.closeTo(0.5, 12) });
  });
});

describe("uncertainty", () => {
  const random = new Random(5);
  const MIXES = [A, B, EVEN];
  const answered = (share: number): StudyItems => {
    const draw = (name: string, suite: "mc" | "gen") => {
      const parts = Array.from({ length: 100 }, () => [random.next() < share ? 1 : 0]);
      const items = parts.map((one, docId) => ({ task: name, docId, digest: name, parts: one, answer: "" }));
      return { name, suite, primary: "acc", items };
    };
    return itemsOf([draw("arc", "mc"), draw("gsm8k", "gen")]);
  };
  const scored = (items: StudyItems, more: object = {}) => {
    const score = (task: string) => (items.tasks[task]!.scores as number[]).reduce((sum, one) => sum + one, 0);
    const [mc, gen] = [score("arc"), score("gsm8k")];
    const tasks = {
      arc: { suite: "mc" as const, score: mc, standardError: 5 },
      gsm8k: { suite: "gen" as const, score: gen, standardError: 5 },
    };
    return { mc, gen, avg: (mc + gen) / 2, tasks, ...more };
  };
  const files = { original: answered(0.8), rows: ["REAP", "REAM"].flatMap(() => MIXES.map(() => answered(0.6))) };
  const rows = files.rows.map((items, i): Row => {
    return { method: i < 3 ? "REAP" : "REAM", experts: 96, mix: MIXES[i % 3]!, ...scored(items) };
  });
  const results = study(rows, { original: scored(files.original) });

  test("comes from items where they are given", () => {
    const [ratio] = analyse(results, { items: files, resamples: 500 }).ratios;
    expect(ratio!.uncertainty).toBe("items");
    const { interval, value, bias, standardError } = ratio!.methods[0]!.hypervolume!;
    expect(interval![0]).toBeLessThan(value);
    expect(interval![1]).toBeGreaterThan(value);
    expect(standardError).toBeGreaterThan(0);
    // The best of noisy points is better than the points are.
    expect(bias).toBeGreaterThan(0);
    expect(ratio!.points[0]!.change!.avg.standardError).toBeGreaterThan(0);
    expect(ratio!.pairs[0]!.mean.avg.standardError).toBeGreaterThan(0);
    expect(ratio!.pairs[0]!.closed.avg!.standardError).toBeGreaterThan(0);
    expect(analyse(results, { items: files, resamples: 500 }).ratios[0]).toEqual(ratio);
  });

  test("comes from standard errors else, and says so", () => {
    const [ratio] = analyse(results, { resamples: 500 }).ratios;
    expect(ratio!.uncertainty).toBe("standard errors");
    expect(ratio!.points[0]!.scores.mc.standardError).toBeCloseTo(5, 0);
    expect(ratio!.points[0]!.change!.mc.standardError).toBeCloseTo(5 * Math.SQRT2, 0);
    const some = { ...files, rows: files.rows.map((items, i) => (i === 0 ? undefined : items)) };
    expect(analyse(results, { items: some, resamples: 500 }).ratios[0]!.uncertainty).toBe("standard errors");
  });

  test("is refused with items of another run and with one resample", () => {
    const other = { ...files, rows: files.rows.map((items, i) => (i === 0 ? answered(0.2) : items)) };
    expect(() => analyse(results, { items: other })).toThrow(
      expect.objectContaining({ code: "ITEMS_DIFFER", where: "rows[0]" }),
    );
    expect(() => analyse(results, { resamples: 1 })).toThrow(RangeError);
  });
});
