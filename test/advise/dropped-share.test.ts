import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { alike, observedShares } from "../../src/advise/dropped-share.js";
import { METHOD_NAMES, type Method } from "../../src/compress/settings.js";
import type { ModelDescription } from "../../src/model/description.js";
import { Observation } from "../../src/observe/observation.js";
import { observe } from "../../src/observe/observe.js";
import { plan } from "../../src/observe/plan.js";
import { follow } from "../../src/pipeline/follow.js";
import { openModel } from "../../src/pipeline/open-model.js";
import { MODEL, TEXT, writeCharacterTokenizer } from "../observe/demo-text.js";
import { GOLDENS } from "../support/goldens.js";

const folder = mkdtempSync(join(tmpdir(), "ream-advise-shares-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const demo = join(folder, "demo");
const grouped = join(folder, "grouped");
const GROUPED = join(GOLDENS, "forward/deepseek_v3");
const MIX = "general=0.5,code=0.5";

beforeAll(async () => {
  await follow(observe({ model: MODEL, ...TEXT, mix: [MIX], out: demo }), () => undefined);
  // Its router chooses from groups of experts.
  const tokenizer = writeCharacterTokenizer(folder);
  await follow(observe({ model: GROUPED, ...TEXT, tokenizer, precision: "f32", out: grouped }), () => undefined);
});

async function describe(model: string): Promise<ModelDescription> {
  const opened = await openModel(model);
  await opened.checkpoint.close();
  return opened.model;
}

/** The share of energy that a plan does not keep, layer by layer. */
async function planned(observed: string, method: Method, experts: number, mix: string | undefined): Promise<number> {
  const observation = await Observation.open(observed);
  const options = { observed, method, experts, ...(mix !== undefined && { mix }) };
  const { plan: made } = await follow(plan(options), () => undefined);
  let sum = 0;
  for (const { layer, keptExperts } of made.layers) {
    const { energy } = await observation.sums(layer, observation.mix(mix));
    const all = energy.combined.reduce((total, value) => total + value, 0);
    const kept = keptExperts.reduce((total, expert) => total + energy.combined[expert]!, 0);
    sum += 1 - kept / all;
  }
  return sum / made.layers.length;
}

test.each(["reap", "ream", "frequency", "m-smoe"] as const)(
  "%s: the energy that its plan does not keep",
  async (method) => {
    const shares = await observedShares(await Observation.open(demo), await describe(MODEL), method, MIX);
    expect(shares.basis).toBe("observed");
    for (const experts of [56, 48, 16]) {
      const share = await shares.of(experts);
      expect(share).toBeCloseTo(await planned(demo, method, experts, MIX), 12);
      // The most salient experts do more than their part.
      expect(share).toBeGreaterThan(0);
      expect(share).toBeLessThan(1 - experts / 64);
    }
    expect(await shares.of(64)).toBe(0);
  },
);

test("the router's groups stay equally large", async () => {
  const model = await describe(GROUPED);
  const shares = await observedShares(await Observation.open(grouped), model, "reap", undefined);
  for (const experts of [model.experts / 2, (3 * model.experts) / 4])
    expect(await shares.of(experts)).toBeCloseTo(await planned(grouped, "reap", experts, undefined), 12);
});

test("without an observation, and for clusters, all experts are alike", async () => {
  const model = await describe(MODEL);
  for (const shares of [alike(model), await observedShares(await Observation.open(demo), model, "hc-smoe", MIX)]) {
    expect(shares.basis).toBe("all experts alike");
    expect(await shares.of(48)).toBe(0.25);
    expect(await shares.of(64)).toBe(0);
  }
});

test("every method has a share", async () => {
  const model = await describe(MODEL);
  const observation = await Observation.open(demo);
  for (const method of METHOD_NAMES) {
    const shares = await observedShares(observation, model, method, MIX);
    expect(await shares.of(32)).toBeGreaterThan(await shares.of(48));
  }
});
