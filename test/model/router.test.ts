import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { RouterDescription } from "../../src/model/description.js";
import { chooseExperts, expertCounts, route } from "../../src/model/router.js";
import { Random } from "../../src/random.js";
import { BACKENDS } from "../support/backends.js";
import { largestDifference } from "../support/goldens.js";

const EXPERTS = 8;

interface Chosen {
  readonly selected: number[];
  readonly weights: number[];
}

const softmax = (z: number[]) => {
  const powers = z.map((value) => Math.exp(value - Math.max(...z)));
  return powers.map((power) => power / sum(powers));
};
const sigmoid = (z: number[]) => z.map((value) => 1 / (1 + Math.exp(-value)));
const sum = (values: number[]) => values.reduce((a, b) => a + b, 0);
/** Indices of the k largest values in ascending order. */
const top = (values: number[], k: number) =>
  values
    .map((_, i) => i)
    .sort((a, b) => values[b]! - values[a]! || a - b)
    .slice(0, k)
    .sort((a, b) => a - b);
const at = (values: number[], indices: number[]) => indices.map((i) => values[i]!);
const plus = (a: number[], b: number[]) => a.map((value, i) => value + b[i]!);
/** Values outside the `kept` groups of `size` that have the largest score are -Infinity. */
const inGroups = (values: number[], size: number, kept: number, score: (group: number[]) => number) => {
  const groups = Array.from({ length: values.length / size }, (_, g) => values.slice(g * size, (g + 1) * size));
  const best = top(groups.map(score), kept);
  return groups.flatMap((group, g) => (best.includes(g) ? group : group.map(() => -Infinity)));
};

const sumOfTwo = (group: number[]) => sum(at(group, top(group, 2)));

const router = (rule: Omit<RouterDescription, "weight">): RouterDescription => ({ weight: "", ...rule });

/** The rules of the families: what to ask for, and the choice of one token from its logits z and the bias b. */
const RULES: [string, RouterDescription, (z: number[], b: number[]) => Chosen][] = [
  [
    "A: softmax",
    router({ scores: "softmax", topK: 3, normalise: false }),
    (z) => ({ selected: top(softmax(z), 3), weights: at(softmax(z), top(softmax(z), 3)) }),
  ],
  [
    "B: softmax, normalised",
    router({ scores: "softmax", topK: 3, normalise: true }),
    (z) => {
      const [s, selected] = [softmax(z), top(softmax(z), 3)];
      return { selected, weights: at(s, selected).map((w) => w / sum(at(s, selected))) };
    },
  ],
  [
    "C: softmax over the chosen logits",
    router({ scores: "softmax", chooseBy: "logits", topK: 2, normalise: true }),
    (z) => ({ selected: top(z, 2), weights: softmax(at(z, top(z, 2))) }),
  ],
  [
    "D: sigmoid, correction bias, groups",
    router({
      scores: "sigmoid",
      selectionBias: "b",
      topK: 3,
      groups: { count: 4, kept: 2, score: "sum-of-two" },
      normalise: true,
      epsilon: 1e-20,
      scale: 2.5,
    }),
    (z, b) => {
      const s = sigmoid(z);
      const selected = top(inGroups(plus(s, b), 2, 2, sumOfTwo), 3);
      return { selected, weights: at(s, selected).map((w) => (w / (sum(at(s, selected)) + 1e-20)) * 2.5) };
    },
  ],
  [
    "E: greedy, scaled",
    router({ scores: "softmax", topK: 3, normalise: false, scale: 16 }),
    (z) => ({ selected: top(z, 3), weights: at(softmax(z), top(z, 3)).map((w) => w * 16) }),
  ],
  [
    "E: best groups by their best expert",
    router({
      scores: "softmax",
      topK: 3,
      groups: { count: 4, kept: 2, score: "max" },
      normalise: false,
      scale: 16,
    }),
    (z) => {
      const s = softmax(z);
      const selected = top(
        inGroups(s, 2, 2, (group) => Math.max(...group)),
        3,
      );
      return { selected, weights: at(s, selected).map((w) => w * 16) };
    },
  ],
  [
    "F: softmax, correction bias, sum of at least 0.6",
    router({ scores: "softmax", selectionBias: "b", topK: 2, normalise: true, floor: 0.6 }),
    (z, b) => {
      const s = softmax(z);
      const selected = top(plus(s, b), 2);
      return { selected, weights: at(s, selected).map((w) => w / Math.max(sum(at(s, selected)), 0.6)) };
    },
  ],
  [
    "G: SparseMixer",
    router({ scores: "softmax", topK: 2, normalise: false, sparseMixer: { jitter: 0.2 } }),
    (z) => {
      const first = top(z, 1)[0]!;
      const rest = z.map((value, e) => (e === first ? -Infinity : value));
      const second = top(rest, 1)[0]!;
      const weigh = (values: number[], expert: number) => {
        const max = values[expert]!;
        const near = values.map((v, e) => ((max - z[e]!) / Math.max(Math.abs(z[e]!), max) > 0.4 ? -Infinity : v));
        return softmax(near)[expert]!;
      };
      const weights: Record<number, number> = { [first]: weigh(z, first), [second]: weigh(rest, second) };
      const selected = [first, second].sort((a, b) => a - b);
      return { selected, weights: selected.map((e) => weights[e]!) };
    },
  ],
  [
    "H: sigmoid, bias, epsilon",
    router({ scores: "sigmoid", selectionBias: "b", topK: 2, normalise: true, epsilon: 1e-6, scale: 0.5 }),
    (z, b) => {
      const s = sigmoid(z);
      const selected = top(plus(s, b), 2);
      return { selected, weights: at(s, selected).map((w) => (w / (sum(at(s, selected)) + 1e-6)) * 0.5) };
    },
  ],
  [
    "I: sigmoid of the chosen logits, on the inputs",
    router({ scores: "sigmoid", chooseBy: "logits", topK: 1, normalise: false, scalesInputs: true }),
    (z) => ({ selected: top(z, 1), weights: sigmoid(at(z, top(z, 1))) }),
  ],
];

describe.each(Object.entries(BACKENDS))("%s backend", (_, create) => {
  test.each(RULES)("%s", (_name, description, expected) => {
    const [tokens, hidden] = [50, 6];
    const random = new Random(3);
    const normal = (length: number) => Float32Array.from({ length }, () => random.normal());
    const [x, weight, bias, selectionBias] = [
      normal(tokens * hidden),
      normal(EXPERTS * hidden),
      normal(EXPERTS),
      normal(EXPERTS),
    ];
    const backend = create("f32");
    const matrix = backend.matrix({
      dtype: "F32",
      shape: [EXPERTS, hidden],
      data: new Uint8Array(weight.buffer as ArrayBuffer),
    });
    const used = description.selectionBias === undefined ? undefined : selectionBias;
    const { logits, scores, routing } = route(backend, x, { weight: matrix, bias, selectionBias: used }, description);
    matrix.dispose();
    expect(routing).toMatchObject({ tokens, topK: description.topK });
    expect(routing.scalesInputs).toBe(description.scalesInputs);
    for (let t = 0; t < tokens; t++) {
      const z = Array.from({ length: EXPERTS }, (_, e) =>
        x.subarray(t * hidden, (t + 1) * hidden).reduce((s, value, j) => s + value * weight[e * hidden + j]!, bias[e]!),
      );
      const { selected, weights } = expected(z, Array.from(selectionBias));
      const row = <T extends { subarray(begin: number, end: number): T }>(values: T, size: number) =>
        values.subarray(t * size, (t + 1) * size);
      expect(largestDifference(row(logits, EXPERTS), z)).toBeLessThan(1e-5);
      const expectedScores = description.scores === "softmax" ? softmax(z) : sigmoid(z);
      expect(largestDifference(row(scores, EXPERTS), expectedScores)).toBeLessThan(2e-6);
      expect(Array.from(row(routing.selected, selected.length))).toEqual(selected);
      expect(largestDifference(row(routing.weights, weights.length), weights)).toBeLessThan(2e-5);
    }
  });
});

const backends = Object.values(BACKENDS).map((create) => create("f32"));

const choose = (scores: number[], experts: number, description: RouterDescription, bias?: number[]) => {
  const values = Float32Array.from(scores);
  const added = bias && Float32Array.from(bias);
  const [first, ...others] = backends.map((backend) =>
    chooseExperts(backend, values, values, added, experts, description),
  );
  for (const other of others) expect(other).toEqual(first);
  return first!;
};

const plain = (topK: number, normalise = false) => router({ scores: "softmax", topK, normalise });

test("equal scores: the lower indices are chosen, listed in ascending order", () => {
  const { selected, weights } = choose([0.1, 0.3, 0.2, 0.3, 0.1], 5, plain(3, true));
  expect(Array.from(selected)).toEqual([1, 2, 3]);
  expect(Array.from(weights)[1]).toBeCloseTo(0.25, 6);
  expect(Array.from(choose(new Array(6).fill(0.5), 6, plain(4)).selected)).toEqual([0, 1, 2, 3]);
});

test("equal groups: the lower ones are chosen", () => {
  const groups = { count: 4, kept: 2, score: "sum-of-two" } as const;
  expect(Array.from(choose(new Array(8).fill(0.5), 8, { ...plain(3), groups }).selected)).toEqual([0, 1, 2]);
});

test("one group is none", () => {
  const groups = { count: 1, kept: 1, score: "sum-of-two" } as const;
  expect(choose([0.1, 0.3, 0.2], 3, { ...plain(2), groups })).toEqual(choose([0.1, 0.3, 0.2], 3, plain(2)));
});

test("SparseMixer leaves experts that are far from the best out of the weights", () => {
  const mixer = { ...plain(2), sparseMixer: { jitter: 0.01 } };
  // 0.99 is within 2 % of 1, of -1 only 1 itself is near; without 1 only 0.99 is near.
  expect(choose([0.99, -1, 1], 3, mixer).selected).toEqual(Int32Array.of(0, 2));
  expect(choose([0.99, -1, 1], 3, mixer).weights[0]).toBe(1);
  expect(choose([0.99, -1, 1], 3, mixer).weights[1]).toBeCloseTo(1 / (1 + Math.exp(-0.01)), 6);
  expect(Array.from(choose([-5, -3, -4], 3, mixer).selected)).toEqual([1, 2]);
  expect(Array.from(choose([0, 0, 0], 3, mixer).weights)).toEqual([Math.fround(1 / 3), 0.5]);
});

test("experts that the groups or the top k do not fit are a mistake of the caller", () => {
  const groups = { count: 2, kept: 1, score: "sum-of-two" } as const;
  expect(() => choose([1, 2, 3], 3, plain(4))).toThrow(RangeError);
  expect(() => choose([1, 2, 3, 4, 5], 5, { ...plain(1), groups })).toThrow(RangeError);
  expect(() => choose([1, 2], 2, { ...plain(1), groups })).toThrow(RangeError);
  expect(() => choose([1, 2, 3, 4], 4, { ...plain(3), groups })).toThrow(RangeError);
});

test("numbers of experts that fit a router", () => {
  expect(expertCounts({ topK: 4 })).toEqual({ step: 1, least: 4 });
  expect(expertCounts({ topK: 4, groups: { count: 1, kept: 1, score: "sum-of-two" } })).toEqual({ step: 1, least: 4 });
  expect(expertCounts({ topK: 8, groups: { count: 8, kept: 4, score: "sum-of-two" } })).toEqual({ step: 8, least: 16 });
  expect(expertCounts({ topK: 6, groups: { count: 8, kept: 3, score: "max" } })).toEqual({ step: 8, least: 16 });
  expect(expertCounts({ topK: 3, groups: { count: 8, kept: 3, score: "max" } })).toEqual({ step: 8, least: 8 });
});

/** Few different values, so that many are equal. */
const scores = (length: number) =>
  fc
    .array(fc.integer({ min: 0, max: 9 }), { minLength: length, maxLength: length })
    .map((values) => values.map((value) => Math.fround(value / 10)));

test("no expert that was left out scores higher than one that was chosen", () => {
  fc.assert(
    fc.property(scores(8), fc.integer({ min: 1, max: 8 }), (values, topK) => {
      const { selected, weights } = choose(values, 8, plain(topK));
      expect(Array.from(selected)).toEqual(top(values, topK));
      expect(Array.from(weights)).toEqual(at(values, top(values, topK)));
    }),
  );
});

test("experts come from the best groups only, whatever is equal", () => {
  const grouped = fc.record({
    values: scores(24),
    bias: scores(24),
    count: fc.constantFrom(2, 3, 4, 6, 12),
    kept: fc.integer({ min: 1, max: 12 }),
    topK: fc.integer({ min: 1, max: 24 }),
    score: fc.constantFrom("max" as const, "sum-of-two" as const),
  });
  fc.assert(
    fc.property(grouped, ({ values, bias, count, kept, topK, score }) => {
      const size = 24 / count;
      fc.pre(kept <= count && kept * size >= topK);
      const description = { ...plain(topK), groups: { count, kept, score } };
      const sums = plus(values, bias).map(Math.fround);
      const ranked = inGroups(sums, size, kept, score === "max" ? (group) => Math.max(...group) : sumOfTwo);
      expect(Array.from(choose(values, 24, description, bias).selected)).toEqual(top(ranked, topK));
    }),
  );
});

test("normalised weights add up to the scale; a token's routing does not depend on the others", () => {
  fc.assert(
    fc.property(scores(32), fc.integer({ min: 1, max: 4 }), (values, topK) => {
      const description = { ...plain(topK, true), epsilon: 1e-20, scale: 2.5 };
      const all = choose(values, 8, description);
      for (let t = 0; t < 4; t++) {
        const own = choose(values.slice(t * 8, (t + 1) * 8), 8, description);
        expect(all.selected.subarray(t * topK, (t + 1) * topK)).toEqual(own.selected);
        expect(all.weights.subarray(t * topK, (t + 1) * topK)).toEqual(own.weights);
        const total = sum(Array.from(own.weights));
        if (total > 0) expect(total).toBeCloseTo(2.5, 5);
      }
    }),
  );
});
