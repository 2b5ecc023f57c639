import fc from "fast-check";
import { expect, test } from "vitest";
import { checkSparsity, parseSparsity, zerosOf } from "../../../src/compress/weights/sparsity.js";

test("shares, percentages and patterns are read", () => {
  expect(parseSparsity("0.5")).toEqual({ kind: "ratio", share: 0.5 });
  expect(parseSparsity(".25")).toEqual({ kind: "ratio", share: 0.25 });
  expect(parseSparsity("62.5%")).toEqual({ kind: "ratio", share: 0.625 });
  expect(parseSparsity("2:4")).toEqual({ kind: "n:m", zeros: 2, of: 4 });
  expect(parseSparsity("1:32")).toEqual({ kind: "n:m", zeros: 1, of: 32 });
});

test.each(["", "0", "1", "0%", "100%", "-0.5", "1.5", "0.5.5", "1e-1", "half", "0:4", "4:4", "5:4", "2:4:8", "2:999"])(
  "%j is refused",
  (text) => {
    expect(() => parseSparsity(text)).toThrow(expect.objectContaining({ code: "OPTION_INVALID" }));
  },
);

test("a matrix must have its shape, and whole runs", () => {
  const weight = new Float32Array(12);
  checkSparsity(weight, [3, 4], { kind: "n:m", zeros: 2, of: 4 });
  expect(() => checkSparsity(weight, [2, 6], { kind: "n:m", zeros: 2, of: 4 })).toThrow(
    expect.objectContaining({ code: "SPARSITY_SHAPE" }),
  );
  expect(() => checkSparsity(weight, [3, 5], { kind: "ratio", share: 0.5 })).toThrow(RangeError);
  expect(() => checkSparsity(weight, [3, 4], { kind: "ratio", share: 1.5 })).toThrow(RangeError);
  expect(() => checkSparsity(weight, [3, 4], { kind: "n:m", zeros: 5, of: 4 })).toThrow(RangeError);
});

test("counts are those of exact decimal arithmetic", () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 1000 }), fc.integer({ min: 0, max: 5_000_000 }), (thousandths, count) => {
      expect(zerosOf(thousandths / 1000, count)).toBe(Math.floor((thousandths * count) / 1000));
    }),
  );
  expect(0.29 * 100).toBeLessThan(29);
  expect(zerosOf(0.29, 100)).toBe(29);
});
