import { describe, expect, test } from "vitest";
import { Random } from "../../../src/random.js";
import { hypervolume } from "../../../src/study/analysis/hypervolume.js";
import { optimalMixes } from "../../../src/study/analysis/optimal.js";
import { paretoFrontier } from "../../../src/study/analysis/pareto.js";
import { referencePoint } from "../../../src/study/analysis/reference.js";
import { gridPoints } from "./points.js";

const place = (mc: number, gen: number) => ({ mc, gen });
const ORIGIN = place(0, 0);

describe("the frontier", () => {
  test("is in ascending MC", () => {
    expect(paretoFrontier([place(3, 1), place(1, 3), place(2, 2), place(1, 1)])).toEqual([1, 2, 0]);
  });

  test("has equal points together, and of the same MC or GEN only the better one", () => {
    expect(paretoFrontier([place(2, 2), place(2, 2), place(2, 1), place(1, 2), place(1, 3)])).toEqual([4, 0, 1]);
  });

  test("of no points is empty", () => expect(paretoFrontier([])).toEqual([]));

  test("refuses what is not a number", () => {
    expect(() => paretoFrontier([place(Number.NaN, 1)])).toThrow(RangeError);
    expect(() => hypervolume([place(1, Number.POSITIVE_INFINITY)], ORIGIN)).toThrow(RangeError);
  });

  test("is what the definition says", () => {
    const random = new Random(1);
    for (let i = 0; i < 300; i++) {
      const points = gridPoints(random, 1 + random.below(20));
      const kept = points.flatMap((point, at) => {
        const dominated = points.some(
          ({ mc, gen }) => mc >= point.mc && gen >= point.gen && (mc > point.mc || gen > point.gen),
        );
        return dominated ? [] : [at];
      });
      expect([...paretoFrontier(points)].sort((a, b) => a - b)).toEqual(kept);
    }
  });
});

describe("the hypervolume", () => {
  test("is the area of a union of rectangles", () => {
    expect(hypervolume([place(3, 1), place(1, 3), place(2, 2)], ORIGIN)).toBe(6);
    expect(hypervolume([place(3, 1)], place(1, -1))).toBe(4);
    expect(hypervolume([], ORIGIN)).toBe(0);
  });

  test("counts nothing that is not above the reference in both", () => {
    expect(hypervolume([place(2, 2), place(-1, 5), place(5, 0)], ORIGIN)).toBe(4);
  });

  test("is the number of cells of a grid that a point covers", () => {
    const random = new Random(2);
    for (let i = 0; i < 300; i++) {
      const points = gridPoints(random, random.below(15));
      const reference = place(random.below(4), random.below(4));
      let cells = 0;
      for (let x = reference.mc; x < 8; x++) {
        for (let y = reference.gen; y < 8; y++) if (points.some(({ mc, gen }) => mc > x && gen > y)) cells++;
      }
      expect(hypervolume(points, reference)).toBe(cells);
    }
  });

  test("depends neither on the order, nor on dominated or repeated points, nor on which axis is which", () => {
    const random = new Random(3);
    for (let i = 0; i < 100; i++) {
      const points = Array.from({ length: 12 }, () => place(random.next() * 100, random.next() * 100));
      const volume = hypervolume(points, ORIGIN);
      const order = [...random.permutation(points.length)].map((at) => points[at]!);
      const below = points.map(({ mc, gen }) => place(mc * random.next(), gen * random.next()));
      const mirrored = points.map(({ mc, gen }) => place(gen, mc));
      expect(hypervolume(order, ORIGIN)).toBe(volume);
      expect(hypervolume([...below, ...points, ...points], ORIGIN)).toBe(volume);
      expect(hypervolume(mirrored, ORIGIN)).toBeCloseTo(volume, 8);
      expect(hypervolume([...points, place(101, 101)], ORIGIN)).toBe(101 * 101);
    }
  });

  test("moves and scales with its points", () => {
    const points = [place(3, 1), place(1, 3), place(2, 2)];
    const moved = points.map(({ mc, gen }) => place(2 * mc + 5, 4 * gen - 8));
    expect(hypervolume(moved, place(5, -8))).toBe(8 * hypervolume(points, ORIGIN));
  });
});

test("the reference point lies below all points in both", () => {
  expect(referencePoint([place(3, 10), place(5, 2)])).toEqual(place(2, 1));
  expect(() => referencePoint([])).toThrow(RangeError);
});

test("optimal mixes are counted on a method's own frontier and on the common one", () => {
  const points = [
    { method: "A", ...place(3, 1) },
    { method: "A", ...place(2, 2) },
    { method: "A", ...place(2, 1) },
    { method: "B", ...place(3, 1) },
    { method: "B", ...place(2, 3) },
  ];
  expect([...optimalMixes(points)]).toEqual([
    ["A", { own: 2, common: 1, of: 3 }],
    ["B", { own: 2, common: 2, of: 2 }],
  ]);
});
