import { describe, expect, test } from "vitest";
import { Random } from "../../../src/random.js";
import { bestUnder } from "../../../src/study/analysis/best.js";
import { mixCorrelations, pearson } from "../../../src/study/analysis/correlation.js";
import { kendall, rankQuality, ranks, spearman } from "../../../src/study/analysis/rank-quality.js";

describe("correlation", () => {
  test("of known values, as scipy has it", () => {
    const found = pearson([1, 2, 3, 4, 5], [2, 1, 4, 3, 7])!;
    expect(found.n).toBe(5);
    expect(found.r).toBeCloseTo(0.8241633836921339, 12);
    expect(found.p).toBeCloseTo(0.08613863131395952, 12);
  });

  test("of values on a line is one, with a p of 0", () => {
    expect(pearson([1, 2, 3], [10, 20, 30])).toEqual({ r: 1, n: 3, p: 0 });
    expect(pearson([1, 2, 3], [3, 2, 1])!.r).toBe(-1);
  });

  test("is undefined for equal values and for fewer than three", () => {
    expect(pearson([0.3, 0.3, 0.3], [1, 2, 3])).toBeUndefined();
    expect(pearson([1, 2], [1, 2])).toBeUndefined();
    expect(() => pearson([1, 2, 3], [1, 2])).toThrow(RangeError);
  });

  test("of shares counts a domain that is not named as none of it", () => {
    const found = mixCorrelations([
      { mix: { a: 1 }, mc: 3, gen: 1 },
      { mix: { a: 0.5, b: 0.5 }, mc: 2, gen: 2 },
      { mix: { b: 1 }, mc: 1, gen: 3 },
    ]);
    expect(found.shares.a).toMatchObject({ mc: { r: 1 }, gen: { r: -1 } });
    expect(found.shares.b).toMatchObject({ mc: { r: -1 }, gen: { r: 1 } });
    expect(found.mcGen).toMatchObject({ r: -1 });
  });
});

describe("ranks", () => {
  test("of equal values are the mean of their places", () => {
    expect(ranks([10, 20, 20, 5, 20])).toEqual([2, 4, 4, 1, 4]);
  });

  test("correlate as scipy has it", () => {
    const [a, b] = [
      [1, 2, 2, 3, 5, 4],
      [2, 1, 3, 3, 6, 6],
    ];
    expect(spearman(a!, b!)).toBeCloseTo(0.8508410434878082, 12);
    expect(kendall(a!, b!)).toBeCloseTo(0.7412493166611012, 12);
  });

  test("are not changed by a rising function, and turned by a falling one", () => {
    const random = new Random(4);
    const [a, b] = [0, 0].map(() => Array.from({ length: 30 }, () => random.below(12))) as [number[], number[]];
    const risen = a.map((value) => Math.exp(value / 3));
    const fallen = a.map((value) => -(value ** 3));
    for (const measure of [spearman, kendall]) {
      const found = measure(a, b)!;
      expect(measure(risen, b)).toBe(found);
      expect(measure(fallen, b)).toBeCloseTo(-found, 12);
      expect(measure(b, a)).toBeCloseTo(found, 12);
      expect(measure(a, a)).toBeCloseTo(1, 12);
      expect(
        measure(
          a,
          a.map(() => 1),
        ),
      ).toBeUndefined();
    }
  });

  test("tell what is lost by the first choice; the lower index of equal ones is taken", () => {
    expect(rankQuality([1, 5, 5, 2], [70, 60, 65, 72])).toMatchObject({ n: 4, chosen: 1, regret: 12 });
    expect(rankQuality([1], [70])).toMatchObject({ chosen: 0, regret: 0, spearman: undefined, kendall: undefined });
    expect(() => rankQuality([], [])).toThrow(RangeError);
    expect(() => rankQuality([1], [1, 2])).toThrow(RangeError);
  });
});

describe("the best point", () => {
  const point = (mc: number, gen: number, aime?: number) => ({
    mc,
    gen,
    avg: (mc + gen) / 2,
    tasks: aime === undefined ? {} : { aime: { suite: "gen" as const, score: aime, standardError: undefined } },
  });
  const points = [point(65, 64, 40), point(66, 60, 50), point(60, 70, 60), point(66, 64), point(66, 64)];

  test("under floors", () => {
    expect(bestUnder(points, "gen")).toBe(2);
    expect(bestUnder(points, "gen", { mc: 66, avg: 60 })).toBe(3);
    expect(bestUnder(points, "mc", { gen: 70 })).toBe(2);
    expect(bestUnder(points, "avg", { mc: 90 })).toBeUndefined();
    expect(bestUnder([], "avg")).toBeUndefined();
  });

  test("is, of equal ones, that with the higher AVG, then the first", () => {
    expect(bestUnder(points, "gen", { mc: 62 })).toBe(3);
    expect(bestUnder(points, "mc")).toBe(3);
  });

  test("by a task and under one; a point without it does not count", () => {
    expect(bestUnder(points, "gen", { aime: 40, mc: 65 })).toBe(0);
    expect(bestUnder(points, "aime", { mc: 66 })).toBe(1);
    expect(() => bestUnder(points, "gsm8k")).toThrow(expect.objectContaining({ code: "SCORE_UNKNOWN" }));
  });
});
