import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, test } from "vitest";
import { localQueue } from "../../src/study/local-queue.js";
import { runStudy } from "../../src/study/run-study.js";
import { readStudy } from "../../src/study/study-file.js";
import { ream, reamKilled } from "../support/command.js";

const demo = fileURLToPath(new URL("../../demo/", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "ream-study-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** A small study of the demo model; `changes` are further or other keys. */
function writeStudy(name: string, changes: object = {}): string {
  const data = (kind: string, domain: string) => join(demo, "data", kind, `${domain}.jsonl`);
  const study = {
    model: join(demo, "model"),
    domains: { general: data("calibration", "general"), code: data("calibration", "code") },
    ...{ sequences: 12, length: 32, mixes: ["general=0.5,code=0.5", "code=1"], methods: ["reap", "ream"] },
    ...{ experts: [48], tasks: ["facts", "functions"], limit: 3 },
    ...changes,
  };
  const path = join(folder, name);
  writeFileSync(path, JSON.stringify(study));
  return path;
}

async function run(file: string, out: string) {
  const study = await readStudy(file);
  const { signal } = new AbortController();
  const steps = runStudy(study, out, localQueue(out, study.budget, signal), signal);
  const states: string[] = [];
  for (let step = await steps.next(); ; step = await steps.next()) {
    if (step.done) return { ...step.value, states };
    if (step.value.type === "job") states.push(`${step.value.label}: ${step.value.state}`);
  }
}

describe("a study", () => {
  const out = join(folder, "study");

  test("does every job, and a second run none", async () => {
    const { results, analysis, failures } = await run(writeStudy("a.json"), out);
    expect(failures).toEqual([]);
    expect(results.rows.map(({ method, mix }) => [method, mix])).toEqual([
      ["reap", { general: 0.5, code: 0.5 }],
      ["ream", { general: 0.5, code: 0.5 }],
      ["reap", { code: 1 }],
      ["ream", { code: 1 }],
    ]);
    expect(analysis.ratios[0]!.methods).toHaveLength(2);
    expect(analysis.ratios[0]!.uncertainty).toBe("items");
    for (const row of results.rows) {
      expect(Object.keys(row.differences!)).toEqual(["facts", "functions"]);
      expect(row.outputBytes).toBeLessThan(statSync(join(demo, "model/model.safetensors")).size);
    }
    // Nothing is left of the compressed checkpoints.
    for (const job of readdirSync(join(out, "jobs")))
      expect(readdirSync(join(out, "jobs", job))).not.toContain("model");
    const before = readFileSync(join(out, "results.json"), "utf8");
    const again = await run(join(folder, "a.json"), out);
    expect(again.states.every((state) => state.endsWith("reused"))).toBe(true);
    expect(readFileSync(join(out, "results.json"), "utf8")).toBe(before);
  });

  test("has a page, which is drawn again from the folder to the same bytes, and from results alone", async () => {
    const page = readFileSync(join(out, "report.html"), "utf8");
    const shown = ["Hypervolume", "What the experts do", "How experts were grouped"];
    expect(shown.filter((text) => !page.includes(text))).toEqual([]);
    const again = join(folder, "again.html");
    expect((await ream(["report", out, "--out", again])).code).toBe(0);
    expect(readFileSync(again, "utf8")).toBe(page);
    const results = JSON.parse(readFileSync(join(out, "results.json"), "utf8"));
    const bare = results.rows.map(({ items, job, ...row }: Record<string, unknown>) => row);
    const path = join(folder, "bare.json");
    writeFileSync(
      path,
      JSON.stringify({ ...results, original: { ...results.original, items: undefined }, rows: bare }),
    );
    expect((await ream(["report", path])).code).toBe(0);
    const alone = readFileSync(join(folder, "bare.html"), "utf8");
    expect(shown.filter((text) => alone.includes(text))).toEqual(["Hypervolume"]);
  });

  test("that grows does only what is new", async () => {
    const { states, results } = await run(writeStudy("b.json", { methods: ["reap", "ream", "frequency"] }), out);
    expect(states.filter((state) => state.endsWith("started"))).toEqual([
      "frequency 48 general=0.5,code=0.5: started",
      "frequency 48 code=1: started",
    ]);
    expect(results.rows).toHaveLength(6);
  });

  test("goes on where a job fails, tells why, and tries it again", async () => {
    // The means of batches cannot come from an observation.
    const methods = ["reap", { name: "odd", method: "reap", statistics: "batch-means" }];
    const { failures, results } = await run(writeStudy("c.json", { methods }), out);
    expect(failures.map(({ job, error }) => [job.label, error.code])).toEqual([
      ["odd 48 general=0.5,code=0.5", "OBSERVATION_STATISTICS"],
      ["odd 48 code=1", "OBSERVATION_STATISTICS"],
    ]);
    expect(results.rows.map(({ method }) => method)).toEqual(["reap", "reap"]);
    const again = await run(join(folder, "c.json"), out);
    expect(again.states).toContain("odd 48 code=1: failed");
  });

  test("that may not start more jobs says what is left out", async () => {
    const { leftOut, results } = await run(writeStudy("d.json", { experts: [48, 40], budget: { jobs: 1 } }), out);
    expect(leftOut).toHaveLength(3);
    expect(results.rows).toHaveLength(5);
  });
});

test("a search evaluates the mixes that stay nearest on held-out text, and tells how well that ranked them", async () => {
  const heldOut = { general: join(demo, "data/heldout/general.jsonl"), code: join(demo, "data/heldout/code.jsonl") };
  const mixes = ["general=1", "general=0.5,code=0.5", "code=1"];
  const changes = { mixes, methods: ["reap"], heldOut, heldOutSequences: 4, search: { budget: 2 } };
  const { search, results } = await run(writeStudy("e.json", changes), join(folder, "search"));
  expect(search).toMatchObject([{ method: "reap", experts: 48, ranked: 3, evaluated: 2, divergence: { n: 2 } }]);
  const divergence = ({ heldOut = {} }: (typeof results.rows)[number]) => heldOut.general!.kl! + heldOut.code!.kl!;
  expect(results.rows).toHaveLength(2);
  expect(results.rows.map(({ mix }) => mix)).toContainEqual({ general: 0.5, code: 0.5 });
  for (const row of results.rows) expect(divergence(row)).toBeGreaterThan(0);
});

test("a study that is killed goes on and ends as one that was not", async () => {
  const out = join(folder, "killed");
  const args = ["study", writeStudy("f.json", { methods: ["reap"] }), "--out", out, "-q"];
  const { killed, code, stderr } = await reamKilled(args, 1500, 1000);
  expect(code, stderr).toBe(0);
  expect(killed).toBeGreaterThan(0);
  const whole = await run(join(folder, "f.json"), join(folder, "whole"));
  const rows = JSON.parse(readFileSync(join(out, "results.json"), "utf8")).rows as object[];
  const comparable = (list: readonly object[]) =>
    list.map((row) => ({ ...row, seconds: undefined, memoryBytes: undefined }));
  expect(comparable(rows)).toEqual(comparable(JSON.parse(JSON.stringify(whole.results.rows))));
});
