import { describe, expect, test } from "vitest";
import { bootstrapAverages, percentiles } from "../../../src/evaluate/compare/bootstrap.js";
import { pairedDifference } from "../../../src/evaluate/compare/difference.js";
import type { JudgedTask } from "../../../src/evaluate/compare/judged.js";
import { meanOf } from "../../../src/evaluate/metrics/mean.js";
import { Random } from "../../../src/random.js";
import { estimate } from "../../../src/study/analysis/estimate.js";
import { redrawErrors } from "../../../src/study/analysis/redraw-errors.js";
import { averagesOfItems, redrawItems } from "../../../src/study/analysis/redraw-items.js";
import { differenceOf } from "../../../src/study/analysis/redrawn.js";
import { itemsOf } from "../../../src/study/items.js";

const DRAWS = { seed: 7, resamples: 2000 };
const random = new Random(11);

function judged(name: string, suite: "mc" | "gen", scores: readonly (readonly number[])[]): JudgedTask {
  const items = scores.map((parts, docId) => ({ task: name, docId, digest: `${name} ${docId}`, parts, answer: "" }));
  return { name, suite, primary: "acc,none", items };
}

/** Two models that answer mostly alike. */
const arc = Array.from({ length: 120 }, () => [random.below(2)]);
const ifeval = Array.from({ length: 60 }, () => Array.from({ length: 1 + random.below(3) }, () => random.below(2)));
const flipped = (scores: readonly number[][]) =>
  scores.map((parts) => parts.map((part) => (random.next() < 0.1 ? 1 - part : part)));
const first = [judged("ifeval", "gen", ifeval), judged("arc", "mc", arc)];
const second = [judged("ifeval", "gen", flipped(ifeval)), judged("arc", "mc", flipped(arc))];

describe("items drawn again", () => {
  const [one, other] = redrawItems([[itemsOf(first)], [itemsOf(second)]], DRAWS);

  test("give the intervals of the comparison of two models", () => {
    const pairs = first.map((original, i) => ({ original, compressed: second[i]! }));
    const expected = bootstrapAverages(pairs, DRAWS.seed, DRAWS.resamples);
    for (const average of ["mc", "gen", "avg"] as const) {
      const [low, high] = percentiles(differenceOf(other![average], one![average]));
      expect(low).toBeCloseTo(100 * expected[average]![0], 9);
      expect(high).toBeCloseTo(100 * expected[average]![1], 9);
    }
  });

  test("spread as the standard errors say, and differences less than the models", () => {
    const alone = estimate(50, one!.mc).standardError!;
    expect(alone / (100 * meanOf(arc.flat()).standardError!)).toBeCloseTo(1, 1);
    const difference = estimate(0, differenceOf(other!.mc, one!.mc)).standardError!;
    const parts = second[1]!.items.map((item) => item.parts);
    expect(difference / (100 * pairedDifference(arc, parts).standardError!)).toBeCloseTo(1, 1);
    expect(difference).toBeLessThan(alone);
  });

  test("do not depend on the other models, on seeds that agree, or on the order of tasks", () => {
    const [again] = redrawItems([[itemsOf([...first].reverse()), itemsOf(first)]], DRAWS);
    expect(again!.avg).toEqual(one!.avg);
    expect(redrawItems([[itemsOf(first)]], { ...DRAWS, seed: 8 })[0]!.avg).not.toEqual(one!.avg);
  });

  test("must be the same for all", () => {
    const refused = (tasks: JudgedTask[]) =>
      expect(() => redrawItems([[itemsOf(first)], [itemsOf(tasks)]], DRAWS)).toThrow(
        expect.objectContaining({ code: "ITEMS_DIFFER" }),
      );
    refused([first[0]!]);
    refused([first[0]!, judged("arc", "mc", arc.slice(1))]);
    refused([first[0]!, judged("arc", "gen", arc)]);
    expect(() => redrawItems([[itemsOf([first[0]!])]], DRAWS)).toThrow(
      expect.objectContaining({ code: "ITEMS_DIFFER", message: "the items have no task of the suite mc" }),
    );
  });

  test("have means over parts", () => {
    const found = averagesOfItems(itemsOf([judged("a", "mc", [[1], [0, 0, 1]]), judged("b", "gen", [[0.5]])]));
    expect(found).toEqual({ mc: 50, gen: 50 });
  });
});

describe("standard errors", () => {
  const task = (suite: "mc" | "gen", score: number, standardError?: number) => ({ suite, score, standardError });
  const model = { mc: 60, gen: 40, tasks: { a: task("mc", 50, 3), b: task("mc", 70, 4), c: task("gen", 40, 2) } };

  test("spread averages as they add up, independently", () => {
    const [one, other] = redrawErrors([model, model], { seed: 1, resamples: 20_000 })!;
    const found = { mc: estimate(60, one!.mc), avg: estimate(50, one!.avg) };
    expect(found.mc.standardError).toBeCloseTo(2.5, 1);
    expect(found.mc.bias).toBeCloseTo(0, 1);
    expect(found.mc.interval![0]).toBeCloseTo(60 - 1.96 * 2.5, 0);
    expect(found.avg.standardError).toBeCloseTo(Math.hypot(2.5, 2) / 2, 1);
    expect(estimate(0, differenceOf(one!.mc, other!.mc)).standardError).toBeCloseTo(2.5 * Math.SQRT2, 1);
  });

  test("that do not explain the averages are not used", () => {
    const draws = { seed: 1, resamples: 10 };
    expect(redrawErrors([{ ...model, tasks: { ...model.tasks, c: task("gen", 40) } }], draws)).toBeUndefined();
    expect(redrawErrors([{ ...model, mc: 61 }], draws)).toBeUndefined();
    expect(redrawErrors([{ ...model, tasks: { c: task("gen", 40, 2) } }], draws)).toBeUndefined();
  });
});

test("an estimate has deviation, percentiles and bias", () => {
  expect(estimate(2, Float64Array.of(1, 2, 3, 4))).toEqual({
    value: 2,
    standardError: Math.sqrt(5 / 3),
    interval: [expect.closeTo(1.075, 12), expect.closeTo(3.925, 12)],
    bias: 0.5,
  });
  expect(estimate(2, undefined)).toMatchObject({ value: 2, interval: undefined });
});
