import { join } from "node:path";
import { expect, test } from "vitest";
import { compress } from "../../src/pipeline/compress.js";
import type { CompressEvent } from "../../src/pipeline/events.js";
import type { CompressOptions } from "../../src/pipeline/options.js";
import { GOLDENS } from "../support/goldens.js";

const golden = join(GOLDENS, "ream/qwen3_moe");
type Sampling = Extract<CompressEvent, { type: "sampling" }>;

async function plan(options: Partial<CompressOptions>) {
  const events: Sampling[] = [];
  const tokens = join(golden, "calibration.safetensors");
  const common = { model: join(golden, "model"), experts: 12, dryRun: true, precision: "f32", groupSize: 4 } as const;
  const run = compress({ ...common, tokens, batchSequences: 2, ...options });
  for (let next = await run.next(); ; next = await run.next()) {
    if (next.done) return { events, layers: next.value.plan.layers };
    if (next.value.type === "sampling") events.push(next.value);
  }
}

/** Of the 512 tokens: 31 of the 32 of each sequence. */
const NEARLY_ALL = "sampled=511";

test("where there are no more tokens than sampled ones all are taken, and nothing is told", async () => {
  const exact = await plan({ statistics: "exact" });
  expect(exact.events).toEqual([]);
  for (const all of [await plan({}), await plan({ statistics: "sampled=512" })]) expect(all).toEqual(exact);
});

test("a sample of nearly all tokens makes the plan of the exact sums", async () => {
  const exact = await plan({ statistics: "exact" });
  const sampled = await plan({ statistics: NEARLY_ALL });
  expect(exact.events).toEqual([]);
  expect(sampled.layers).toEqual(exact.layers);
  expect(sampled.events.map(({ layer }) => layer)).toEqual(exact.layers.map(({ layer }) => layer));
  for (const { standardError, decisions } of sampled.events) {
    expect(standardError!.most).toBeGreaterThanOrEqual(standardError!.median);
    expect(decisions!.all).toBe(4);
  }
});

test("fewer tokens have a larger error; saliency stays exact; the seed says which they are", async () => {
  const [few, again, many, exact] = [
    await plan({ statistics: "sampled=32" }),
    await plan({ statistics: "sampled=32" }),
    await plan({ statistics: NEARLY_ALL }),
    await plan({}),
  ];
  expect(few).toEqual(again);
  expect(few.events[0]!.tokens).toBeLessThanOrEqual(32);
  expect(few.events[0]!.standardError!.median).toBeGreaterThan(many.events[0]!.standardError!.median);
  expect(few.layers[0]!.keptExperts).toEqual(exact.layers[0]!.keptExperts);
});

test("routed pairs, which are summed exactly, add nothing to the error", async () => {
  const [stratified, plain] = [
    await plan({ statistics: "sampled=64" }),
    await plan({ statistics: "sampled=64", routing: "softmax" }),
  ];
  for (const [layer, { standardError }] of stratified.events.entries())
    expect(standardError!.median).toBeLessThan(0.8 * plain.events[layer]!.standardError!.median);
});

test("gates left out, and outputs not gated", async () => {
  const exact = await plan({ gatedOutputs: false });
  expect((await plan({ gatedOutputs: false, statistics: NEARLY_ALL })).layers).toEqual(exact.layers);
});

test("where there is nothing to sample it is refused", async () => {
  await expect(plan({ statistics: "sampled=9", method: "reap" })).rejects.toMatchObject({ code: "SETTINGS_CONFLICT" });
  await expect(plan({ statistics: "sampled=9", method: "ream-paper" })).rejects.toMatchObject({
    code: "SETTINGS_CONFLICT",
  });
  for (const statistics of ["sampled=0", "sampled=", "sampled=1.5", "sums"] as string[] as "exact"[])
    await expect(plan({ statistics })).rejects.toMatchObject({ code: "OPTION_INVALID" });
  await expect(plan({ statistics: "exact", method: "reap" })).resolves.toMatchObject({ events: [] });
});

test("a memory limit is told with its plan, or refused with numbers before any layer", async () => {
  await expect(plan({ memoryLimit: "10MB" })).rejects.toMatchObject({ code: "MEMORY_LIMIT" });
  await expect(plan({ memoryLimit: "10" })).rejects.toThrow(/24GB/);
  expect((await plan({ memoryLimit: "1GB" })).layers).toHaveLength((await plan({})).layers.length);
});
