import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { isMerged, type LayerPlan } from "../../src/compress/plan.js";
import { compress } from "../../src/pipeline/compress.js";
import type { CompressOptions } from "../../src/pipeline/options.js";
import { folderDigest } from "../support/folder-digest.js";
import { GOLDENS } from "../support/goldens.js";

const source = join(GOLDENS, "ream/qwen3_moe");
const common = { model: join(source, "model"), tokens: join(source, "calibration.safetensors"), experts: 12 } as const;
const folder = mkdtempSync(join(tmpdir(), "ream-guard-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
let runs = 0;

async function run(options: Omit<CompressOptions, "model">) {
  const out = join(folder, `${++runs}`);
  const events = compress({ ...common, precision: "f32", out, ...options });
  let step = await events.next();
  while (!step.done) step = await events.next();
  return { ...step.value, out };
}

const manifestOf = (out: string) => JSON.parse(readFileSync(join(out, "ream.json"), "utf8"));
const weights = (out: string) => folderDigest(out)["model.safetensors"];

/** Writes a layer's plan with some merges as a plan of its own. */
function planFile(plan: { readonly layers: readonly LayerPlan[] }): string {
  const file = join(folder, `plan-${++runs}.json`);
  writeFileSync(file, JSON.stringify(plan));
  return file;
}

// On this model and text hc-smoe's merges are all better.
describe.each([
  ["ream", true],
  ["hc-smoe", false],
  ["m-smoe", true],
] as const)("%s", (method, undoes) => {
  test("groups are pruned where that is better, and the plan says so", async () => {
    const { plan, out } = await run({ method, guard: true });
    const bare = await run({ method });
    for (const [i, layer] of plan.layers.entries()) {
      const { guard, groups } = layer;
      expect(guard!.after.heldOut).toBeLessThanOrEqual(guard!.pruned.heldOut);
      for (const [domain, error] of Object.entries(guard!.after.domains))
        expect(error).toBeLessThanOrEqual(guard!.pruned.domains[domain]! + 0.001);
      // The first layer sees what it sees without the guard.
      if (i === 0) {
        const merged = bare.plan.layers[0]!.groups.filter(isMerged).map(({ members }) => members[0]);
        expect(guard!.merges.map(({ centroid }) => centroid)).toEqual(merged);
      }
      for (const { centroid, kept } of guard!.merges) {
        const group = groups.find(({ members }) => members[0] === centroid)!;
        expect(isMerged(group)).toBe(kept);
        if (!kept) expect(group.permutations).toEqual({});
      }
    }
    expect(plan.layers.some(({ guard }) => guard!.merges.some(({ kept }) => !kept))).toBe(undoes);
    expect(manifestOf(out).plan.layers[0].guard).toEqual(plan.layers[0]!.guard);
    expect(readFileSync(join(out, "README.md"), "utf8")).toMatch(
      /\| layer \| all groups merged \| centroids alone \| guarded \|/,
    );
  });
});

test("a plan that was guarded gives the same weights again", async () => {
  const { plan, out } = await run({ method: "ream", guard: true });
  const again = await run({ plan: planFile(plan) });
  expect(weights(again.out)).toBe(weights(out));
  expect(weights((await run({ method: "ream" })).out)).not.toBe(weights(out));
});

test("both backends decide alike", async () => {
  const [native, reference] = [
    await run({ method: "ream", guard: true, backend: "native" }),
    await run({ method: "ream", guard: true, backend: "reference" }),
  ];
  for (const [i, { guard }] of native.plan.layers.entries()) {
    const other = reference.plan.layers[i]!.guard!;
    for (const key of ["pruned", "merged", "after"] as const)
      expect(Math.abs(guard![key].heldOut / other[key].heldOut - 1)).toBeLessThan(1e-3);
    expect(guard!.merges.map(({ kept }) => kept)).toEqual(other.merges.map(({ kept }) => kept));
  }
});

test("a refit goes on from the groups that the guard left, with the errors that it told", async () => {
  const { plan, refits } = await run({ method: "ream", guard: true, reconstruct: "down" });
  for (const [i, { guard }] of plan.layers.entries()) {
    const { before } = refits!.layers[i]!.fit!;
    expect(Math.abs(before.heldOut.lost / before.heldOut.of / guard!.after.heldOut - 1)).toBeLessThan(1e-3);
  }
});

test.each([
  [{ method: "reap" }, /no merges/],
  [{ method: "ream", sequential: false }, /layers before/],
  [{ method: "ream", observed: "nowhere" }, /calibration text/],
  [{ plan: "nowhere" }, /itself/],
] as const)("%j is refused", async (options, message) => {
  await expect(run({ ...options, guard: true })).rejects.toMatchObject({ code: "SETTINGS_CONFLICT" });
  await expect(run({ ...options, guard: true })).rejects.toThrow(message);
});
