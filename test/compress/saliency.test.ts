import { expect, test } from "vitest";
import { type RoutedSums, replaceZeros, saliencyOf } from "../../src/compress/saliency.js";

// Two experts: the first saw 2 tokens with contributions 1 and 3, the second none.
const sums: RoutedSums = {
  tokens: 4,
  routed: Float64Array.of(2, 0),
  contribution: Float64Array.of(4, 0),
  energy: Float64Array.of(10, 0),
};

test.each([
  ["reap", [2, 0]],
  ["frequency", [0.5, 0]],
  ["sum", [4, 0]],
  ["energy", [10, 0]],
] as const)("%s", (kind, expected) => {
  expect(Array.from(saliencyOf(sums, kind))).toEqual(expected);
});

test("zeros become the least positive saliency, at most one half", () => {
  expect(Array.from(replaceZeros(Float64Array.of(0, 2, 0.1)))).toEqual([0.1, 2, 0.1]);
  expect(Array.from(replaceZeros(Float64Array.of(0, 2)))).toEqual([0.5, 2]);
  expect(Array.from(replaceZeros(Float64Array.of(0, 0)))).toEqual([0, 0]);
});
