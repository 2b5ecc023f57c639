import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { apportion, countsWithin, interleave, parseMix } from "../../src/calibration/mix.js";
import { ReamError } from "../../src/errors.js";

const sum = (values: ArrayLike<number>) => Array.from(values).reduce((total, value) => total + value, 0);

/** Ratios that sum to 1. */
const ratios = fc
  .array(fc.integer({ min: 1, max: 1000 }), { minLength: 1, maxLength: 6 })
  .map((weights) => weights.map((weight) => weight / sum(weights)));

describe("parseMix", () => {
  test("reads shares, fractions and equal shares", () => {
    expect(parseMix("general=0.3, math=0.3,code=0.4")).toEqual([
      { name: "general", ratio: 0.3 },
      { name: "math", ratio: 0.3 },
      { name: "code", ratio: 0.4 },
    ]);
    expect(parseMix("a=1/3,b=2/3")[1]!.ratio).toBeCloseTo(2 / 3, 15);
    expect(parseMix("a,b,c,d").map(({ ratio }) => ratio)).toEqual([0.25, 0.25, 0.25, 0.25]);
  });

  test("leaves out domains with share 0", () => {
    expect(parseMix("a=0,b=1")).toEqual([{ name: "b", ratio: 1 }]);
  });

  test.each([
    ["general=0.3,math=0.3,code=0.3", /sum to 0\.9/],
    ["a=0.5,b", /some have none/],
    ["a=0.5,a=0.5", /twice/],
    ["a=-0.5,b=1.5", /not a number from 0 to 1/],
    ["a=x", /not a number/],
    ["a=NaN", /not a number/],
    ["a=1/0", /not a number/],
    ["=1", /name of a domain/],
    ["", /name of a domain/],
    ["a=1,", /name of a domain/],
  ])("refuses %j", (text, message) => {
    expect(() => parseMix(text)).toThrow(message);
    expect(() => parseMix(text)).toThrow(ReamError);
  });
});

test("apportion adds up and stays within one of each quota", () => {
  expect(apportion([1 / 3, 1 / 3, 1 / 3], 10)).toEqual([4, 3, 3]);
  expect(apportion([0.1, 0.2, 0.7], 30)).toEqual([3, 6, 21]);
  fc.assert(
    fc.property(ratios, fc.integer({ min: 0, max: 1_000_000 }), (shares, total) => {
      const counts = apportion(shares, total);
      expect(sum(counts)).toBe(total);
      for (const [index, share] of shares.entries()) {
        expect(Math.abs(counts[index]! - share * total)).toBeLessThan(1 + 1e-5);
      }
    }),
  );
});

describe("countsWithin", () => {
  test("keeps the shares when a domain has too little", () => {
    expect(countsWithin([1 / 3, 1 / 3, 1 / 3], [1024, 812, 1024], 3072)).toEqual([812, 812, 812]);
    expect(countsWithin([0.5, 0.5], [50, 50], 100)).toEqual([50, 50]);
    expect(countsWithin([0.9, 0.1], [90, 0], 100)).toEqual([0, 0]);
  });

  test("a share that rounds down to nothing does not empty the rest", () => {
    expect(countsWithin([0.999, 0.001], [100, 0], 100)).toEqual([100, 0]);
  });

  test("never takes more than there is, and as much as the shares allow", () => {
    const available = fc.array(fc.integer({ min: 0, max: 300 }), { minLength: 6, maxLength: 6 });
    fc.assert(
      fc.property(ratios, available, fc.integer({ min: 1, max: 600 }), (shares, all, wanted) => {
        const asked = apportion(shares, wanted);
        const has = shares.map((_, index) => Math.min(all[index]!, asked[index]!));
        const counts = countsWithin(shares, has, wanted);
        const total = sum(counts);
        for (const [index, share] of shares.entries()) {
          expect(counts[index]!).toBeLessThanOrEqual(has[index]!);
          expect(Math.abs(counts[index]! - share * total)).toBeLessThan(1 + 1e-5);
        }
        if (total === wanted) return;
        // At most a few sequences more would break a share or need text that is not there.
        const scarce = shares.some(
          (share, index) => has[index]! < asked[index]! && (total + 3) * share > has[index]! - 1,
        );
        expect(scarce).toBe(true);
      }),
    );
  });
});

test("interleave gives every prefix about the right mix", () => {
  expect([...interleave([2, 1, 1])].join("")).toBe("0120");
  const counts = fc.array(fc.integer({ min: 0, max: 200 }), { minLength: 1, maxLength: 6 });
  fc.assert(
    fc.property(counts, (parts) => {
      const order = interleave(parts);
      const taken = parts.map(() => 0);
      for (const [position, domain] of order.entries()) {
        taken[domain]! += 1;
        for (const [index, part] of parts.entries()) {
          const share = (part * (position + 1)) / order.length;
          expect(Math.abs(taken[index]! - share)).toBeLessThan(2);
        }
      }
      expect(taken).toEqual(parts);
    }),
  );
});
