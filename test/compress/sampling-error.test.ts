import { expect, test } from "vitest";
import type { SampledMeans } from "../../src/compress/mean-sample.js";
import type { Group } from "../../src/compress/plan.js";
import { samplingError, similarityErrors } from "../../src/compress/sampling-error.js";
import { resolveSettings } from "../../src/compress/settings.js";
import { similarity } from "../../src/compress/similarity.js";
import { Random } from "../../src/random.js";

const ream = resolveSettings("ream");
const [EXPERTS, HIDDEN, PARTS] = [3, 12, 16];
/** Experts that are as similar as merged ones often are. */
const truth = (() => {
  const random = new Random(1);
  const common = Array.from({ length: HIDDEN }, () => random.normal());
  return Float64Array.from({ length: EXPERTS * HIDDEN }, (_, i) => common[i % HIDDEN]! + 0.7 * random.normal());
})();

/** Means of parts that scatter about the truth. */
function sample(random: Random): SampledMeans {
  const parts = Array.from({ length: PARTS }, () => truth.map((value) => value + random.normal()));
  const mean = (some: Float64Array[]) =>
    truth.map((_, i) => some.reduce((sum, part) => sum + part[i]!, 0) / some.length);
  return { tokens: 100, all: mean(parts), without: parts.map((part) => mean(parts.filter((each) => each !== part))) };
}

test("the jackknife tells the scatter of similarities over samples", () => {
  const random = new Random(2);
  const draws = Array.from({ length: 400 }, () => sample(random));
  const similarities = draws.map((draw) => similarity({ experts: EXPERTS, meanOutputs: draw.all }, ream).combined);
  const errors = draws.map((draw) => similarityErrors({ experts: EXPERTS }, draw, ream)!);
  for (const pair of [1, 2, 5]) {
    const values = similarities.map((each) => each[pair]!);
    const mean = values.reduce((a, b) => a + b) / values.length;
    const scatter = Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (values.length - 1));
    const told = Math.sqrt(errors.reduce((sum, each) => sum + each[pair]! ** 2, 0) / errors.length);
    expect(told / scatter).toBeGreaterThan(0.85);
    expect(told / scatter).toBeLessThan(1.25);
  }
});

test("a decision by less than the error of the difference is counted, one by more is not", () => {
  const groups: Group[] = [
    { members: [0, 2], weights: [1, 1], permutations: {} },
    { members: [1, 3], weights: [1, 1], permutations: {} },
  ];
  // Expert 0 is more similar to 2 than to 3 by a little, which the parts move by `spread`.
  const means = (spread: number): SampledMeans => {
    const outputs = (shift: number) => Float64Array.of(1, 0, 0, 1, 1, 0.2 + shift, 1, 0.3);
    const without = [-1, 1, -1, 1].map((sign) => outputs(sign * spread));
    return { tokens: 7, all: outputs(0), without };
  };
  const count = (spread: number) => samplingError({ experts: 4 }, means(spread), ream, groups, 1).decisions;
  // The last group had nothing else to choose from.
  expect(count(0.001)).toEqual({ all: 2, within: 0 });
  expect(count(0.2)).toEqual({ all: 2, within: 1 });
  // Experts of another group of the router are no rivals.
  const apart = samplingError({ experts: 4 }, means(0.2), ream, [groups[0]!, groups[1]!], 2).decisions;
  expect(apart).toEqual({ all: 2, within: 0 });
  const nearest = { ...ream, grouping: "nearest" } as const;
  expect(samplingError({ experts: 4 }, means(0.001), nearest, groups, 1).decisions).toEqual({ all: 2, within: 1 });
});

test("one part alone tells nothing", () => {
  const means = { tokens: 9, all: truth, without: [] };
  expect(samplingError({ experts: EXPERTS }, means, ream, [], 1)).toEqual({
    tokens: 9,
    standardError: undefined,
    decisions: undefined,
  });
});
