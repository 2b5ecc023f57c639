import fc from "fast-check";
import { expect, test } from "vitest";
import type { Option, Quality } from "../../src/advise/advice.js";
import { rankOptions } from "../../src/advise/rank.js";

const scores = (avg: number | undefined, kl: number | undefined, tasks: string): Quality => ({
  kind: "measured",
  from: "results",
  loss: { dropped: 0.1, rounded: 0, basis: "" },
  scores: {
    ...{ avg: avg === undefined ? undefined : { value: avg, standardError: 1 }, kl, tasks, domains: "" },
  },
});
const predicted = (dropped: number, rounded: number): Quality => ({
  ...{ kind: "predicted", loss: { dropped, rounded, basis: "" }, divergence: undefined },
});

function option(left: number, quality: Quality, experts = 1): Option {
  return {
    ...{ candidate: { experts, method: "reap", format: undefined }, variant: "", options: "", command: "" },
    ...{ bytes: 1, memory: 1, bitsPerWeight: 1, fits: left >= 0, left, plain: [], quality },
  };
}

const arbitrary = fc
  .record({
    left: fc.integer({ min: -3, max: 3 }),
    quality: fc.oneof(
      fc.constant<Quality>({ kind: "original", scores: undefined, from: undefined }),
      fc.tuple(fc.integer({ min: 0, max: 2 }), fc.integer({ min: 0, max: 2 })).map((parts) => predicted(...parts)),
      fc
        .tuple(
          fc.option(fc.integer({ min: 0, max: 3 }), { nil: undefined }),
          fc.option(fc.integer({ min: 1, max: 3 }), { nil: undefined }),
          fc.constantFrom("a", "b"),
        )
        .map((parts) => scores(...parts)),
    ),
  })
  .map(({ left, quality }) => option(left, quality));

test("fitting before missing, measured before predicted, better before worse; equal ranks for equal ones", () => {
  const kinds = { original: 0, measured: 1, predicted: 2 };
  fc.assert(
    fc.property(fc.array(arbitrary, { maxLength: 12 }), (options) => {
      const ranked = rankOptions(options);
      expect(new Set(ranked.map(({ rank: _, ...rest }) => JSON.stringify(rest)))).toEqual(
        new Set(options.map((one) => JSON.stringify(one))),
      );
      expect(ranked).toHaveLength(options.length);
      for (const [i, after] of ranked.entries()) {
        const before = ranked[i - 1];
        if (before === undefined) {
          expect(after.rank).toBe(1);
          continue;
        }
        expect([before.rank, i + 1]).toContain(after.rank);
        expect(before.fits || !after.fits).toBe(true);
        if (!before.fits) {
          expect(before.left).toBeGreaterThanOrEqual(after.left);
          expect(before.rank === after.rank).toBe(before.left === after.left);
        }
        if (!after.fits || !before.fits) continue;
        expect(kinds[before.quality.kind]).toBeLessThanOrEqual(kinds[after.quality.kind]);
        if (before.quality.kind === "predicted" && after.quality.kind === "predicted") {
          const [a, b] = [before.quality.loss, after.quality.loss];
          expect(a.dropped).toBeLessThanOrEqual(b.dropped);
          if (a.dropped === b.dropped) expect(a.rounded).toBeLessThanOrEqual(b.rounded);
          expect(before.rank === after.rank).toBe(a.dropped === b.dropped && a.rounded === b.rounded);
        }
        if (before.quality.kind === "measured" && after.quality.kind === "measured") {
          const [a, b] = [before.quality.scores, after.quality.scores];
          expect(a.avg !== undefined || b.avg === undefined).toBe(true);
          if (a.avg !== undefined && b.avg !== undefined && a.tasks === b.tasks)
            expect(a.avg.value).toBeGreaterThanOrEqual(b.avg.value);
        }
      }
    }),
  );
});

test("averages of other tasks come behind those of the tasks that were asked most", () => {
  const ranked = rankOptions([
    option(1, scores(90, 0.1, "few")),
    option(1, scores(50, 0.3, "many")),
    option(1, scores(60, 0.2, "many")),
    option(1, scores(undefined, 0.01, "")),
  ]);
  expect(ranked.map(({ quality }) => quality.kind === "measured" && quality.scores.avg?.value)).toEqual([
    60,
    50,
    90,
    undefined,
  ]);
});
