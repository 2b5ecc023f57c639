import { describe, expect, test } from "vitest";
import { parsePlan } from "../../src/compress/plan.js";

const model = { layers: [0, 2], experts: 4, width: 2, router: { topK: 1 } };

function plan() {
  const layer = (index: number) => ({
    layer: index,
    keptExperts: [1, 3],
    groups: [
      { members: [3, 0], weights: [0.75, 0.25], permutations: { 0: [1, 0] } },
      { members: [1, 2], weights: [1, 0], permutations: {} },
    ],
  });
  return {
    format: "ream-plan",
    version: 1,
    method: "ream",
    rounding: "once",
    experts: { before: 4, after: 2 },
    layers: [layer(0), layer(2)],
  };
}

test("a plan that fits is taken as it is", () => {
  expect(parsePlan(plan(), model, "plan.json")).toEqual(plan());
});

describe("a plan that does not fit is refused", () => {
  const cases: [string, (value: ReturnType<typeof plan>) => void, RegExp][] = [
    ["another format", (p) => Object.assign(p, { format: "x" }), /format/],
    ["another number of experts", (p) => Object.assign(p.experts, { before: 8 }), /8 experts/],
    ["missing layer", (p) => p.layers.pop(), /layers 0/],
    ["wrong layer", (p) => Object.assign(p.layers[1]!, { layer: 1 }), /layers 0, 1/],
    ["too few kept", (p) => p.layers[0]!.keptExperts.pop(), /keeps 1/],
    ["kept not ascending", (p) => p.layers[0]!.keptExperts.reverse(), /ascending/],
    ["centroid not kept", (p) => p.layers[0]!.groups[0]!.members.reverse(), /centroids/],
    ["expert in two groups", (p) => p.layers[0]!.groups[1]!.members.splice(1, 1, 0), /two groups/],
    ["weights do not add up", (p) => p.layers[0]!.groups[0]!.weights.splice(0, 1, 0.1), /add up/],
    ["weight missing", (p) => p.layers[0]!.groups[0]!.weights.pop(), /weight/],
    ["not a permutation", (p) => p.layers[0]!.groups[0]!.permutations[0]!.splice(0, 2, 1, 1), /permutation/],
    ["negative index", (p) => p.layers[0]!.groups[0]!.members.push(-1), /members/],
  ];
  test.each(cases)("%s", (_, change, message) => {
    const value = plan();
    change(value);
    expect(() => parsePlan(value, model, "plan.json")).toThrow(message);
    expect(() => parsePlan(value, model, "plan.json")).toThrow(
      expect.objectContaining({ code: "PLAN_INVALID" }) as Error,
    );
  });

  test("top-k above the kept experts", () => {
    expect(() => parsePlan(plan(), { ...model, router: { topK: 3 } }, "plan.json")).toThrow(/fewer than the 3/);
  });
});

describe("experts of the attention", () => {
  const mixed = { ...model, attention: { width: 3, router: { topK: 1 } } };
  const planOf = (...attention: object[]) => {
    const value = plan();
    return { ...value, layers: value.layers.map((layer, i) => ({ ...layer, attention: attention[i] })) };
  };
  const block = { keptExperts: [0, 3], groups: [0, 3].map((e) => ({ members: [e], weights: [1], permutations: {} })) };

  test("have a plan of their own", () => {
    expect(parsePlan(planOf(block, block), mixed, "plan.json")).toEqual(planOf(block, block));
  });

  test.each([
    ["a layer without one", planOf(block), mixed, /layer 2 says nothing of experts of the attention/],
    ["a model without them", planOf(block, block), model, /layer 0 has a plan of experts of the attention/],
    ["another number", planOf(block, { ...block, keptExperts: [3] }), mixed, /the attention of layer 2 keeps 1/],
  ])("%s is refused", (_, value, facts, message) => {
    expect(() => parsePlan(value, facts, "plan.json")).toThrow(message);
  });
});

describe("the groups of the router", () => {
  const grouped = { ...model, router: { topK: 1, groups: { count: 2, kept: 1, score: "max" } } } as const;
  const planOf = (keptExperts: number[], members: number[][]) => ({
    ...plan(),
    layers: [0, 2].map((layer) => ({
      layer,
      keptExperts,
      groups: members.map((of) => ({ members: of, weights: of.map((_, i) => (i === 0 ? 1 : 0)), permutations: {} })),
    })),
  });

  test("keep equally many experts, and are not joined", () => {
    const balanced = planOf(
      [1, 2],
      [
        [1, 0],
        [2, 3],
      ],
    );
    expect(parsePlan(balanced, grouped, "plan.json")).toEqual(balanced);
    const message = (keptExperts: number[], members: number[][]) => () =>
      parsePlan(planOf(keptExperts, members), grouped, "plan.json");
    expect(message([0, 1], [[0], [1]])).toThrow(/keeps 2 experts of the router's group 0/);
    expect(message([1, 2], [[1, 3], [2]])).toThrow(/several of the router's groups/);
    const sumOfTwo = { ...grouped.router.groups, score: "sum-of-two" } as const;
    const strict = { ...grouped, router: { topK: 1, groups: sumOfTwo } };
    expect(() => parsePlan(balanced, strict, "plan.json")).toThrow(/fewer than the 4/);
  });
});
