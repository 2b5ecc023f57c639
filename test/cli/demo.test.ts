import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import type { DemoResult } from "../../src/cli/demo-run.js";
import { ream, temporaryFolder } from "./ream.js";

const folder = temporaryFolder();

test("compresses, measures, prints a table, and replaces its own results", async () => {
  const args = ["demo", "--sequences", "6", "--items", "5", "--out", "demo", "--backend", "native"];
  const first = await ream([...args, "--json", "-q"], { cwd: folder });
  expect(first.status).toBe(0);
  const { rows, evaluation, study } = JSON.parse(first.stdout) as DemoResult;
  expect(rows.map(({ name, experts }) => [name, experts])).toEqual([
    ["original", 64],
    ["ream-48", 48],
    ["reap-48", 48],
    ["ream-32", 32],
    ["reap-32", 32],
  ]);
  const original = rows[0]!.heldOut;
  for (const { heldOut, experts, bytes } of rows) {
    expect(Object.keys(heldOut)).toEqual(["general", "math", "code"]);
    for (const [domain, measure] of Object.entries(heldOut)) {
      expect(measure.tokens).toBe(6 * 127);
      expect(measure.perplexity).toBeCloseTo(Math.exp(measure.loss));
      if (experts === 64) expect(measure).toMatchObject({ agreement: 1, divergence: 0 });
      else expect(measure.perplexity).toBeGreaterThan(original[domain]!.perplexity);
    }
    if (experts < 64) expect(bytes).toBeLessThan(rows[0]!.bytes);
  }
  expect(evaluation.subjects.map(({ label, tasks }) => [label, tasks.length])).toEqual(
    rows.map(({ name }) => [name, 14]),
  );
  const [original64, ...compressed] = evaluation.subjects.map(({ averages }) => averages.avg!.mean);
  expect(original64).toBeGreaterThan(0.9);
  for (const mean of compressed) expect(mean).toBeLessThan(original64!);
  const [ratio] = study.analysis.ratios;
  expect(ratio!.points.map(({ method }) => method)).toEqual(["ream", "reap", "ream", "reap", "ream", "reap"]);
  expect(study.items).toBe(5);
  expect(readFileSync(join(folder, study.report), "utf8")).toContain("Study report");
  const weights = join(folder, "demo/ream-48/model.safetensors");
  const before = readFileSync(weights);
  const second = await ream(args, { cwd: folder });
  expect(second.stdout).toMatch(/^reap-32 +32 +8\.31 MB( +\d+\.\d){3} +\d+\.\d\d/m);
  expect(second.stdout).toContain("How to read it");
  expect(second.stdout).toMatch(/^general 0.1, math 0.8, code 0.1( +\d+\.\d){4}$/m);
  expect(second.stdout).toContain("The page of this little study: demo/study/report.html");
  expect(second.stderr).toContain("ream-32");
  expect(readFileSync(weights).equals(before)).toBe(true);
});

test("leaves folders alone that it did not make", async () => {
  const foreign = join(folder, "other/ream-48");
  mkdirSync(foreign, { recursive: true });
  writeFileSync(join(foreign, "ream.json"), JSON.stringify({ source: { files: [{ sha256: "00" }] } }));
  const run = await ream(["demo", "--out", "other"], { cwd: folder });
  expect(run.stderr).toContain("OUTPUT_EXISTS");
  expect(run.status).toBe(1);
  expect(existsSync(join(foreign, "ream.json"))).toBe(true);
});

test("refuses domains that it has not", async () => {
  const run = await ream(["demo", "--mix", "poetry=1", "--out", "none"], { cwd: folder });
  expect(run.stderr).toContain("the demo has no domain poetry");
  expect(run.status).toBe(2);
  expect(existsSync(join(folder, "none"))).toBe(false);
});
