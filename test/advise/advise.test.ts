import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { advise } from "../../src/advise/advise.js";
import { observe } from "../../src/observe/observe.js";
import { follow } from "../../src/pipeline/follow.js";
import { contentIdentity } from "../../src/pipeline/source-identity.js";
import { MODEL, TEXT } from "../observe/demo-text.js";
import { forwardCases, GOLDENS } from "../support/goldens.js";

const folder = mkdtempSync(join(tmpdir(), "ream-advise-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const QWEN = join(GOLDENS, "forward/qwen3_moe");

test.each(forwardCases())("%s", async (_, model) => {
  const run = () => advise({ model, fit: "300kB", context: 100, sampledExperts: 2, backend: "reference" });
  const { options, refused, fit, allowance, cache, parameters, experts } = await run();
  expect(fit).toBe(3e5);
  expect(allowance).toBe(3e4);
  expect(refused.length).toBeGreaterThan(0);
  const fixed = cache.keysAndValues + cache.states + allowance;
  for (const { bytes, memory, fits, left, bitsPerWeight, quality, command, candidate } of options) {
    expect(memory).toBe(bytes + fixed);
    expect(left).toBe(fit - memory);
    expect(fits).toBe(left >= 0);
    expect(bitsPerWeight).toBe((8 * bytes) / parameters);
    expect(quality.kind).toBe(command === undefined ? "original" : "predicted");
    if (quality.kind !== "predicted") continue;
    expect(quality.loss.dropped).toBe(candidate.method === undefined ? 0 : 1 - candidate.experts / experts);
    expect(quality.loss.rounded > 0).toBe(candidate.format !== undefined);
    expect(quality).not.toHaveProperty("scores");
    expect(quality.divergence).toBeUndefined();
  }
});

describe("what fits", () => {
  const at = (fit: number) => advise({ model: QWEN, fit: `${fit}B`, context: 64, allowance: "0", sampledExperts: 1 });

  test("to the byte", async () => {
    const one = (await at(1e9)).options.find(({ candidate }) => candidate.format === "int8")!;
    const fitting = async (fit: number) => (await at(fit)).options.find(({ command }) => command === one.command)!.fits;
    expect(await fitting(one.memory)).toBe(true);
    expect(await fitting(one.memory - 1)).toBe(false);
  });

  test("caches grow with context and sequences", async () => {
    const cacheOf = async (options: { context: number; sequences?: number }) =>
      (await advise({ model: QWEN, fit: "1GB", sampledExperts: 1, ...options })).cache.keysAndValues;
    const one = await cacheOf({ context: 64 });
    expect(await cacheOf({ context: 128 })).toBe(2 * one);
    expect(await cacheOf({ context: 64, sequences: 3 })).toBe(3 * one);
    const { notes, context, fit } = await advise({ model: QWEN, fit: "1GB", sampledExperts: 1 });
    expect([context, fit]).toEqual([8192, 1e9]);
    expect(notes.join()).toContain("not for 8192");
  });

  test("options that are missing or wrong", async () => {
    await expect(advise({ model: QWEN })).rejects.toMatchObject({ code: "OPTION_MISSING" });
    await expect(advise({ model: QWEN, fit: "24" })).rejects.toMatchObject({ code: "OPTION_INVALID", where: "--fit" });
    const allowance = { model: QWEN, fit: "1GB", allowance: "much" };
    await expect(advise(allowance)).rejects.toMatchObject({ code: "OPTION_INVALID", where: "--allowance" });
    await expect(advise({ model: QWEN, fit: "1GB", context: 0 })).rejects.toMatchObject({ code: "OPTION_INVALID" });
  });
});

test("with an observation the shares are those of the experts; another model's is refused", async () => {
  const observed = join(folder, "observed");
  await follow(
    observe({ model: MODEL, ...TEXT, mix: ["general=1", "math=1"], pruningOnly: true, out: observed }),
    () => undefined,
  );
  const common = {
    model: MODEL,
    fit: "8MB",
    sampledExperts: 1,
    method: ["reap", "frequency"] as ("reap" | "frequency")[],
  };
  const [alike, seen] = [await advise(common), await advise({ ...common, observed, mix: "general=1" })];
  const predicted = ({ options }: typeof alike, method: string, experts: number) => {
    const found = options.find(
      ({ candidate }) => candidate.method === method && candidate.experts === experts && candidate.format === undefined,
    );
    if (found?.quality.kind !== "predicted") throw new TypeError("no prediction");
    return found.quality.loss;
  };
  expect(predicted(alike, "reap", 48)).toEqual({ dropped: 0.25, rounded: 0, basis: "all experts alike" });
  const reap = predicted(seen, "reap", 48);
  expect(reap.basis).toBe("observed experts");
  expect(reap.dropped).toBeLessThan(0.25);
  expect(seen.notes.join()).not.toContain("estimate");
  expect((await advise({ ...common, observed })).notes.join()).toContain(
    "an estimate, not what a run on the mix would give",
  );
  expect(predicted(seen, "frequency", 48).dropped).not.toBe(reap.dropped);
  await expect(advise({ model: QWEN, fit: "1GB", observed })).rejects.toMatchObject({ code: "OBSERVATION_MODEL" });
});

describe("with results of a study", () => {
  /** A study of a model with a compression of each kind: method, experts, format, AVG, KL. */
  async function writeStudy(
    name: string,
    rows: readonly (readonly [string, number, string | undefined, number, number])[],
  ) {
    const files = ["config.json", "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];
    const identities = await Promise.all(files.map((file) => contentIdentity(QWEN, file)));
    const out = join(folder, name);
    const scored = (avg: number, kl: number) => ({
      ...{ mc: avg, gen: avg, avg },
      tasks: { a: { suite: "mc", score: avg, items: 9 }, b: { suite: "gen", score: avg, items: 9 } },
      heldOut: { text: { kl } },
    });
    for (const [i, [method, after, format]] of rows.entries()) {
      const manifest = {
        ...{ format: "ream-manifest", ream: "0", topK: 4, outputDtype: "same", method },
        source: { model: QWEN, family: "qwen3_moe", files: identities },
        experts: { before: 16, after },
        plan: { digest: "", layers: [] },
        ...Object.fromEntries(format === undefined ? [] : [["then", [format]]]),
      };
      mkdirSync(join(out, `jobs/${i}`), { recursive: true });
      writeFileSync(join(out, `jobs/${i}/manifest.json`), JSON.stringify(manifest));
    }
    const results = {
      ...{ format: "ream-study-results", version: 1, title: "", model: { name: "m", experts: 16 } },
      original: scored(90, 0),
      rows: rows.map(([method, experts, , avg, kl], i) => ({
        ...{ method: `${method}-${i}`, experts, mix: { general: 1 }, job: String(i), ...scored(avg, kl) },
      })),
    };
    writeFileSync(join(out, "results.json"), JSON.stringify(results));
    return out;
  }

  const run = (results: string) =>
    advise({ model: QWEN, fit: "1GB", allowance: "0", results: [results], backend: "reference" });

  test("what was measured is told as measured, each measurement by itself, and stands before predictions", async () => {
    const study = await writeStudy("measured", [
      ["ream", 12, undefined, 70, 0.2],
      ["ream", 12, undefined, 60, 0.3],
      ["m-smoe", 8, undefined, 40, 0.9],
      ["reap", 5, "int8", 50, 0.8],
    ]);
    const { options, notes } = await run(study);
    const [first, ...rest] = options;
    expect(first!.quality).toMatchObject({ kind: "original", scores: { avg: { value: 90 } } });
    const measured = rest.slice(0, 4).map(({ candidate, quality, rank }) => {
      if (quality.kind !== "measured") throw new TypeError(quality.kind);
      return [rank, candidate.experts, candidate.method, candidate.format, quality.scores.avg!.value];
    });
    expect(measured).toEqual([
      [2, 12, "ream", undefined, 70],
      [3, 12, "ream", undefined, 60],
      [4, 5, "reap", "int8", 50],
      [5, 8, "m-smoe", undefined, 40],
    ]);
    const predictions = rest.slice(4);
    expect(predictions.every(({ quality }) => quality.kind === "predicted")).toBe(true);
    expect(
      predictions.some(({ candidate }) => candidate.experts === 12 && candidate.method === "ream" && !candidate.format),
    ).toBe(false);
    expect(
      predictions.some(({ candidate }) => candidate.experts === 12 && candidate.method === "reap" && !candidate.format),
    ).toBe(true);
    expect(notes.join("\n")).toMatch(/no KL is predicted for fewer experts, because 3 measured .*Spearman's rho/);
  });

  test("KL is predicted within what was measured, and for its kinds alone", async () => {
    const study = await writeStudy("divergences", [
      ["reap", 14, undefined, 80, 0.01],
      ["reap", 12, undefined, 70, 0.04],
      ["reap", 10, undefined, 60, 0.09],
      ["reap", 8, undefined, 50, 0.16],
    ]);
    const { options, notes } = await run(study);
    const known = options.flatMap(({ candidate, quality }) =>
      quality.kind === "predicted" && quality.divergence !== undefined ? [{ candidate, quality }] : [],
    );
    expect(known.length).toBeGreaterThan(0);
    for (const { candidate, quality } of known) {
      expect(candidate).toMatchObject({ method: "ream", format: undefined });
      // The rows above: an eighth, a quarter ... of the experts are not kept.
      expect(quality.divergence!.kl / (0.64 * quality.loss.dropped ** 2)).toBeCloseTo(1, 8);
    }
    expect(notes.join()).toMatch(/KL is predicted for fewer experts by the power law that 4 measured show/);
    // A quarter of the experts lies outside.
    expect(known.some(({ candidate }) => candidate.experts === 4)).toBe(false);
  });

  test("two measured ones predict nothing, which is told", async () => {
    const study = await writeStudy("two", [
      ["reap", 12, undefined, 70, 0.2],
      ["reap", 8, undefined, 50, 0.4],
    ]);
    const { options, notes } = await run(study);
    expect(options.some(({ quality }) => quality.kind === "predicted" && quality.divergence !== undefined)).toBe(false);
    expect(notes.join()).toContain("no KL is predicted for fewer experts, because 2 measured");
  });
});
