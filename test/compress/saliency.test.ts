import { expect, test } from "vitest";
import { replaceZeros, saliencyOf } from "../../src/compress/saliency.js";

// Two experts: the first saw 2 tokens with contributions 1 and 3, the second none.
const none = Float64Array.of(Number.NaN, Number.NaN);
const sums = {
  tokens: 4,
  routed: Float64Array.of(2, 0),
  weight: Float64Array.of(0.6, 0),
  mass: Float64Array.of(0.9, 0.1),
  norm: Float64Array.of(6, 0),
  normSquared: Float64Array.of(20, 0),
  contribution: { combined: Float64Array.of(4, 0), scores: none, "scores-squared": none },
  energy: { combined: Float64Array.of(10, 0), scores: none, "scores-squared": none },
};

test.each([
  ["reap", [2, 0]],
  ["frequency", [0.5, 0]],
  ["sum", [4, 0]],
  ["energy", [10, 0]],
  ["mass", [0.6, 0]],
  ["mean-norm", [3, 0]],
  ["mean-squared-norm", [10, 0]],
  ["score-mass", [0.9, 0.1]],
  ["sum-norm", [6, 0]],
  ["sum-squared-norm", [20, 0]],
] as const)("%s", (saliency, expected) => {
  expect(Array.from(saliencyOf(sums, { saliency, gate: "combined" }))).toEqual(expected);
});

test("zeros become the least positive saliency, at most one half", () => {
  expect(Array.from(replaceZeros(Float64Array.of(0, 2, 0.1)))).toEqual([0.1, 2, 0.1]);
  expect(Array.from(replaceZeros(Float64Array.of(0, 2)))).toEqual([0.5, 2]);
  expect(Array.from(replaceZeros(Float64Array.of(0, 0)))).toEqual([0, 0]);
});
