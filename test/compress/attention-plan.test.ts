import { expect, test } from "vitest";
import { AttentionObserver, attentionSettings } from "../../src/compress/attention-plan.js";
import { METHOD_NAMES, type Method, resolveSettings } from "../../src/compress/settings.js";
import type { RoutedExperts } from "../../src/model/description.js";
import type { RoutedNorms } from "../../src/model/moe.js";
import { stackedExperts } from "../../src/model/storage/stacked.js";
import { BACKENDS } from "../support/backends.js";

const mixture: RoutedExperts = {
  router: { weight: "router", scores: "softmax", topK: 1, normalise: true },
  experts: stackedExperts({
    ...{ count: 4, width: 2, hidden: 3, layout: "rows", gate: "none" },
    ...{ gateUp: "query", down: "output" },
  }),
};

/** Tokens that use expert 0, 0, 1, 2, 3 with weights and norms whose products are 4, 2, 1, 6, 2; the last is padding. */
const routed: RoutedNorms = {
  router: {
    // Experts 1 and 2 have the same logits, 3 has those of 0.
    logits: Float32Array.from([5, 1, 1, 5, 5, 1, 1, 4, 1, 5, 5, 1, 1, 5, 5, 1, 4, 1, 1, 5, 9, 9, -9, 9]),
    scores: new Float32Array(24).fill(0.25),
    routing: {
      ...{ tokens: 6, topK: 1, selected: Int32Array.from([0, 0, 1, 2, 3, 3]) },
      weights: Float32Array.from([1, 0.5, 0.5, 1, 1, 1]),
    },
  },
  norms: Float32Array.from([4, 4, 2, 6, 2, 90]),
};
const mask = Uint8Array.from([1, 1, 1, 1, 1, 0]);

async function planned(method: Method, kept = 2) {
  const observer = new AttentionObserver(BACKENDS.reference!("f32"), mixture, resolveSettings(method));
  observer.add(new Float32Array(18), routed, mask);
  const pause = () => Promise.resolve();
  return { observation: observer.observation(), plan: await observer.plan({ layer: 0, kept, pause }) };
}

test("saliencies are means of weight times norm, without padding", async () => {
  const { observation, plan } = await planned("reap");
  expect([...observation.saliency]).toEqual([3, 1, 6, 2]);
  expect([...observation.routed]).toEqual([2, 1, 1, 1]);
  expect(plan).toEqual({
    keptExperts: [0, 2],
    groups: [2, 0].map((expert) => ({ members: [expert], weights: [1], permutations: {} })),
  });
});

test("groups are made by the logits of the router, and averaged by saliency without alignment", async () => {
  const { plan } = await planned("m-smoe");
  expect(plan.keptExperts).toEqual([0, 2]);
  const [two, zero] = plan.groups;
  expect(two!.members).toEqual([2, 1]);
  expect(zero!.members).toEqual([0, 3]);
  for (const { permutations, weights } of plan.groups) {
    expect(permutations).toEqual({});
    expect(weights[0]! + weights[1]!).toBeCloseTo(1, 12);
  }
});

test.each(METHOD_NAMES)("%s merges or prunes as it does elsewhere, and aligns nothing", async (method) => {
  const settings = resolveSettings(method);
  const own = attentionSettings(settings);
  expect(own.saliency).toBe(settings.saliency);
  expect(own.merging).toBe(settings.merging);
  expect(own).toMatchObject({ alignActivations: false, alignWeights: "none", outputSimilarity: "none" });
  const { plan } = await planned(method);
  const absorbed = plan.groups.reduce((sum, { members }) => sum + members.length - 1, 0);
  expect(absorbed).toBe(settings.merging === "none" ? 0 : 2);
});

test("numbers that are not finite end it", () => {
  const observer = new AttentionObserver(BACKENDS.reference!("f32"), mixture, resolveSettings("reap"));
  const broken = { ...routed, norms: routed.norms.with(1, Number.NaN) };
  expect(() => observer.add(new Float32Array(18), broken, mask)).toThrow(
    expect.objectContaining({ code: "NOT_FINITE" }) as Error,
  );
});
