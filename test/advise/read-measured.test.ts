import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Measurement } from "../../src/advise/measurement.js";
import { readMeasured } from "../../src/advise/read-measured.js";
import { compress } from "../../src/pipeline/compress.js";
import { follow } from "../../src/pipeline/follow.js";
import { type OpenedModel, openModel } from "../../src/pipeline/open-model.js";
import { GOLDENS } from "../support/goldens.js";

const folder = mkdtempSync(join(tmpdir(), "ream-advise-measured-"));
const source = join(folder, "source");
const small = join(folder, "small");
const FORMATS = ["int8", "int4-g128"] as const;
let opened: OpenedModel;

beforeAll(async () => {
  cpSync(join(GOLDENS, "ream/qwen3_moe/model"), source, { recursive: true });
  const tokens = join(GOLDENS, "ream/qwen3_moe/calibration.safetensors");
  const options = { model: source, out: small, tokens, experts: 12, backend: "reference" } as const;
  await follow(compress({ ...options, method: "ream", groupSize: 8 }), () => undefined);
  opened = await openModel(source);
});
afterAll(async () => {
  await opened.checkpoint.close();
  rmSync(folder, { recursive: true, force: true });
});

/** What was done behind the experts. */
const steps = (...names: string[]) => ({ then: names });

/** A copy of the small model's manifest with changes, in a folder of its own. */
function variant(name: string, changes: object, file = "ream.json"): string {
  const place = join(folder, name);
  mkdirSync(place, { recursive: true });
  const manifest = JSON.parse(readFileSync(join(small, "ream.json"), "utf8"));
  writeFileSync(join(place, file), JSON.stringify({ ...manifest, ...changes }));
  return place;
}

const mean = (value: number, standardError = 0.01) => ({ mean: value, standardError, n: 100 });

/** An evaluation of models by label, with the average and divergence of each. */
function writeEvaluation(name: string, models: Record<string, { place: string; avg: number; kl: number }>): string {
  const place = join(folder, name);
  mkdirSync(place, { recursive: true });
  const subjects = Object.entries(models).map(([label, { avg, kl }]) => ({
    ...{ label, averages: { mc: mean(avg + 0.1), gen: mean(avg - 0.1), avg: mean(avg) } },
    scores: [{ name: "grammar", suite: "mc", score: mean(avg) }],
    heldOut: { math: { divergence: kl }, code: { divergence: 3 * kl } },
  }));
  const options = {
    models: Object.entries(models).map(([label, { place }]) => `${label}=${place}`),
    model: [],
    judge: [],
  };
  const evaluation = { format: "ream-evaluation/1", options, subjects, comparisons: [] };
  writeFileSync(join(place, "evaluation.json"), JSON.stringify(evaluation));
  return place;
}

const read = (...folders: string[]) => readMeasured(folders, opened, FORMATS);
const find = (measurements: readonly Measurement[], label: string) =>
  measurements.find(({ from }) => from.endsWith(`: ${label}`));

test("an evaluation: models by their manifests, in per cent", async () => {
  const evaluation = writeEvaluation("evaluation", {
    original: { place: source, avg: 0.8, kl: 0 },
    plain: { place: small, avg: 0.7, kl: 0.1 },
    rounded: {
      place: variant("rounded", {
        ...steps("gptq:int4"),
        steps: { parts: ["experts", "attention"] },
      }),
      avg: 0.6,
      kl: 0.2,
    },
    full: {
      place: variant("full", { method: "none", experts: { before: 16, after: 16 }, ...steps("int8") }),
      avg: 0.75,
      kl: 0.05,
    },
  });
  const { measurements, notes } = await read(evaluation);
  expect(notes).toEqual([]);
  expect(measurements).toHaveLength(4);
  expect(find(measurements, "original")).toMatchObject({
    candidate: { experts: 16, method: undefined, format: undefined },
    avg: { value: 80, standardError: 1 },
    kl: 0,
  });
  const plain = find(measurements, "plain")!;
  expect(plain).toMatchObject({ candidate: { experts: 12, method: "ream", format: undefined }, tasks: "grammar 100" });
  expect(plain.mc!.value).toBeCloseTo(80, 10);
  expect(plain.gen!.value).toBeCloseTo(60, 10);
  // The mean of the domains.
  expect(plain.kl).toBeCloseTo(0.2, 12);
  expect(plain.domains).toBe("code, math");
  // What is not as the method has it by itself.
  expect(plain.variant).toContain("groupSize=8");
  expect(plain.variant).not.toContain("saliency=");
  const rounded = find(measurements, "rounded")!;
  expect(rounded.candidate).toEqual({ experts: 12, method: "ream", format: "int4-g128", solver: "gptq" });
  expect(find(measurements, "full")!.candidate).toEqual({ experts: 16, method: undefined, format: "int8" });
});

test("a divergence from another model than the original is none", async () => {
  const evaluation = writeEvaluation("no-original", { plain: { place: small, avg: 0.7, kl: 0.1 } });
  const { measurements } = await read(evaluation);
  expect(measurements).toHaveLength(1);
  expect(measurements[0]!.kl).toBeUndefined();
  expect(measurements[0]!.avg!.value).toBeCloseTo(70, 10);
});

test("results of other models are not used, and told", async () => {
  const manifest = JSON.parse(readFileSync(join(small, "ream.json"), "utf8"));
  const files = manifest.source.files as { name: string; bytes: number; sha256: string }[];
  const changed = (change: object) => ({
    source: { ...manifest.source, files: files.map((file, i) => (i === 0 ? { ...file, ...change } : file)) },
  });
  const cases: [string, string, RegExp][] = [
    ["length", variant("length", changed({ bytes: 7 })), /made from other files/],
    ["content", variant("content", changed({ sha256: "0".repeat(64) })), /made from other files/],
    ["fewer", variant("fewer", { source: { ...manifest.source, files: files.slice(1) } }), /made from other files/],
    ["method", variant("method", { method: "magic" }), /method "magic" is not known/],
    ["float", variant("float", { outputDtype: "F16" }), /written as F16/],
    ["steps", variant("steps", steps("wanda:0.5", "int8")), /steps \(wanda:0.5, int8\) are not one weight format/],
    ["sparse", variant("sparse", steps("wanda:2:4")), /steps \(wanda:2:4\) are not one weight format/],
    ["unknown", variant("unknown", steps("int3")), /steps \(int3\) are not one/],
    ["other", variant("other", steps("fp8")), /steps \(fp8\) are not one weight format of this model/],
    ["parts", variant("parts", { ...steps("int8"), steps: { parts: ["experts"] } }), /int8 was done to experts alone/],
    ["nothing", join(folder, "nothing"), /has no ream.json/],
  ];
  const places = Object.fromEntries(cases.map(([label, place]) => [label, { place, avg: 0.5, kl: 1 }]));
  const { measurements, notes } = await read(writeEvaluation("others", places));
  expect(measurements).toEqual([]);
  expect(notes).toHaveLength(cases.length);
  for (const [i, [label, , message]] of cases.entries()) {
    expect(notes[i]).toContain(`: ${label}: `);
    expect(notes[i]).toMatch(message);
  }
});

test("a study: rows by the manifests of their jobs, with standard errors of the averages from those of the tasks", async () => {
  const study = join(folder, "study");
  variant("study/jobs/aaa", steps("int8"), "manifest.json");
  const task = (suite: string, score: number, standardError: number) => ({ suite, score, standardError, items: 50 });
  const scored = {
    ...{ mc: 60, gen: 40, avg: 50 },
    tasks: { a: task("mc", 50, 3), b: task("mc", 70, 4), c: task("gen", 40, 6) },
    heldOut: { math: { kl: 0.2 }, code: { kl: 0.4 } },
  };
  const row = { ...scored, method: "ours", experts: 12, mix: { math: 1 } };
  const results = {
    ...{ format: "ream-study-results", version: 1, title: "", model: { name: "m", experts: 16 } },
    original: { ...scored, mc: 80, gen: 60, avg: 70 },
    rows: [
      { ...row, job: "aaa" },
      { ...row, experts: 8, job: "bbb" },
    ],
  };
  writeFileSync(join(study, "results.json"), JSON.stringify(results));
  const { measurements, notes } = await read(study);
  expect(notes).toEqual([`${study}: 1 of 2 rows have no manifest of their model.`]);
  const [first, original, ...others] = measurements;
  expect(others).toEqual([]);
  expect(first).toMatchObject({
    candidate: { experts: 12, method: "ream", format: "int8" },
    from: `${study}: ours 12 (aaa)`,
    mc: { value: 60, standardError: 2.5 },
    gen: { value: 40, standardError: 6 },
    avg: { value: 50, standardError: 3.25 },
    tasks: "a 50, b 50, c 50",
  });
  expect(first!.kl).toBeCloseTo(0.3, 12);
  expect(original).toMatchObject({ candidate: { experts: 16, method: undefined }, avg: { value: 70 } });
  // None of the rows is of this model: neither is the original.
  rmSync(join(study, "jobs/aaa"), { recursive: true });
  expect((await read(study)).measurements).toEqual([]);
});

test("a folder without results", async () => {
  await expect(read(small)).rejects.toMatchObject({ code: "RESULTS_READ", where: small });
});
