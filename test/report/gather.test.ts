import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { renderCompressionReport } from "../../src/report/compression-report.js";
import { gatherCompression } from "../../src/report/gather/compression.js";
import { evaluationOf } from "../../src/report/gather/evaluation.js";
import { reportOptions } from "../../src/report/gather/options.js";
import { ream } from "../support/command.js";

const demo = fileURLToPath(new URL("../../demo/", import.meta.url));
const model = join(demo, "model");
const folder = mkdtempSync(join(tmpdir(), "ream-report-"));
const [observed, small, evaluation] = ["observed", "small", "evaluation"].map((name) => join(folder, name)) as [
  string,
  string,
  string,
];
const text = (kind: string, domain: string) => `${domain}=${join(demo, "data", kind, `${domain}.jsonl`)}`;
const heldOut = ["--held-out", text("heldout", "code"), "--held-out-sequences", "4", "--held-out-length", "32"];

async function run(...args: string[]) {
  const outcome = await ream([...args, "--quiet"]);
  if (outcome.code !== 0) throw new Error(outcome.stderr);
}

beforeAll(async () => {
  const domains = ["general", "code"].flatMap((domain) => ["--domain", text("calibration", domain)]);
  await run("observe", model, ...domains, "--sequences", "12", "--length", "32", "--out", observed);
  await run("compress", model, "--observed", observed, "--experts", "32", "--out", small);
  const models = [`original=${model}`, `small=${small}`, `again=${small}`];
  await run("evaluate", ...models, "--tasks", "facts,sums", "--limit", "5", ...heldOut, "--out", evaluation);
}, 60_000);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const signal = new AbortController().signal;
const gather = (given: object) => gatherCompression(small, reportOptions.parse(given), signal);

test("a compressed model's manifest is enough for a page", async () => {
  const report = await gather({});
  expect(report).toMatchObject({ model: "model", method: "ream", experts: { before: 64, after: 32 }, topK: 8 });
  expect(report.layers).toHaveLength(4);
  expect(report.sizes.map(({ name, before, after }) => [name, before, after])[1]).toEqual(["Routed experts", 256, 128]);
  expect(report.sizes[0]!.before).toBe(readFileSync(join(model, "model.safetensors")).length);
  expect(report.evaluation).toBeUndefined();
  const facts = Object.fromEntries(report.provenance.map(({ name, value }) => [name, value]));
  expect(facts).toMatchObject({ method: "ream", seed: "42", original: model });
});

test("decisions by held-out text are told layer by layer", async () => {
  const out = join(folder, "decided");
  const more = [
    "--group-size",
    "8",
    "--criterion",
    "auto",
    "--protect-super-experts",
    "--router-calibration",
    "group-mass",
  ];
  const calibration = ["--domain", text("calibration", "code"), "--sequences", "12", "--length", "32"];
  await run("compress", model, "--experts", "32", "--method", "ream", ...calibration, ...more, "--out", out);
  const report = await gatherCompression(out, reportOptions.parse({}), signal);
  const { plan, routerCalibration } = JSON.parse(readFileSync(join(out, "ream.json"), "utf8"));
  const page = renderCompressionReport(report);
  for (const [i, { choice, superExperts, layer }] of plan.layers.entries()) {
    expect(report.layers[i]).toMatchObject({ layer, choice, superExperts });
    expect(page).toContain(`${(100 * choice.error).toFixed(2)} %`);
    const { before, after = before } = routerCalibration.layers[i];
    expect(page).toContain(`${(100 * after.heldOut).toFixed(2)} %`);
  }
  expect(page).toContain("What fitting routers changed");
});

test("with an evaluation, an observation and held-out text it shows these", async () => {
  const source = text("heldout", "code");
  const report = await gather({ evaluation, observed, heldOut: [source], heldOutSequences: 4, heldOutLength: 32 });
  const { tasks, original, compressed } = report.evaluation!;
  expect(tasks).toEqual([
    { name: "facts", suite: "mc", items: 5 },
    { name: "sums", suite: "gen", items: 5 },
  ]);
  const found = JSON.parse(readFileSync(join(evaluation, "evaluation.json"), "utf8"));
  expect(original.tasks.facts).toBe(100 * found.subjects[0].scores[0].score.mean);
  expect(compressed.differences!.sums!.value).toBe(100 * found.comparisons[0].tasks[1].difference.value);
  // The same text as the evaluation's: the same numbers.
  const { perplexity, agreement, divergence } = found.subjects[1].heldOut.code;
  expect(compressed.heldOut).toEqual({ code: { perplexity, agreement, divergence } });
  expect(original.heldOut!.code!.divergence).toBe(0);
  expect(report.layerErrors!.map(({ layer }) => layer)).toEqual([0, 1, 2, 3]);
  expect(report.layerErrors!.every(({ error }) => error > 0 && error < 2)).toBe(true);
  expect(report.observation!.map(({ saliency }) => saliency!.length)).toEqual([64, 64, 64, 64]);
});

test("what layers lose is told where merges were guarded and experts refitted", async () => {
  const out = join(folder, "refitted");
  const domains = ["general", "code"].flatMap((domain) => ["--domain", text("calibration", domain)]);
  const refit = ["--guard", "--reconstruct", "down", "--ridge", "1"];
  await run(
    ...["compress", model, ...domains, "--sequences", "32", "--length", "32"],
    ...["--experts", "48", ...refit, "--out", out],
  );
  const manifest = JSON.parse(readFileSync(join(out, "ream.json"), "utf8"));
  const { losses } = await gatherCompression(out, reportOptions.parse({}), signal);
  expect(losses!.map(({ name }) => name)).toEqual(["all groups merged", "centroids alone", "guarded", "refitted"]);
  for (const { errors, domains } of losses!) {
    expect(errors.map(({ layer }) => layer)).toEqual([0, 1, 2, 3]);
    expect(Object.keys(domains).sort()).toEqual(["code", "general"]);
  }
  const [merged, , guarded, refitted] = losses!;
  expect(merged!.errors[2]!.error).toBe(manifest.plan.layers[2].guard.merged.heldOut);
  const own = manifest.plan.layers.map(({ guard }: { guard: { after: { domains: { code: number } } } }) => guard.after);
  const sum = own.reduce((all: number, { domains }: { domains: { code: number } }) => all + domains.code, 0);
  expect(guarded!.domains.code).toBeCloseTo(sum / 4, 12);
  const { before, after = before } = manifest.reconstruct.layers[3];
  expect(refitted!.errors[3]!.error).toBe(after.heldOut);
  const card = readFileSync(join(out, "README.md"), "utf8");
  expect(card).toContain("| layer | all groups merged | centroids alone | guarded | refitted |");
  expect(card).toMatch(/Refit of down: layers lose [\d.]+ % -> [\d.]+ % of held-out outputs\./);
  expect((await gather({})).losses).toBeUndefined();
}, 60_000);

test("the label of an evaluation is the folder's, or is named", async () => {
  await expect(evaluationOf(evaluation, small, undefined)).resolves.toBeDefined();
  await expect(evaluationOf(evaluation, small, "again")).resolves.toBeDefined();
  await expect(evaluationOf(evaluation, small, "other")).rejects.toMatchObject({ code: "EVALUATION_LABEL" });
  await expect(evaluationOf(evaluation, join(folder, "elsewhere"), undefined)).rejects.toMatchObject({
    code: "EVALUATION_LABEL",
  });
  await expect(evaluationOf(folder, small, undefined)).rejects.toMatchObject({ code: "EVALUATION_READ" });
});

test("another original, and what is no compressed model, are refused", async () => {
  const other = join(folder, "other");
  cpSync(model, other, { recursive: true });
  writeFileSync(join(other, "config.json"), `${readFileSync(join(model, "config.json"), "utf8")} `);
  await expect(gather({ original: other, heldOut: [text("heldout", "code")] })).rejects.toMatchObject({
    code: "SOURCE_DIFFERS",
  });
  await expect(gather({ heldOut: ["code"] })).rejects.toMatchObject({ code: "OPTION_INVALID" });
  const none = gatherCompression(model, reportOptions.parse({}), signal);
  await expect(none).rejects.toMatchObject({ code: "MANIFEST_READ" });
  writeFileSync(join(other, "ream.json"), "{}");
  const damaged = gatherCompression(other, reportOptions.parse({}), signal);
  await expect(damaged).rejects.toMatchObject({ code: "MANIFEST_INVALID" });
});

test("the command writes the page into the folder", async () => {
  const page = join(small, "report.html");
  const outcome = await ream(["report", small, "--evaluation", evaluation, "--observed", observed, "--json"]);
  expect(JSON.parse(outcome.stdout)).toMatchObject({ report: page });
  const html = readFileSync(page, "utf8");
  for (const id of ["sizes", "tasks", "nearness", "experts", "groups", "provenance"])
    expect(html).toContain(`id="${id}"`);
  const study = await ream(["report", folder, "--evaluation", evaluation]);
  expect(study.stderr).toContain("OPTION_INVALID");
  expect((await ream(["report", folder])).stderr).toContain("RESULTS_READ");
});
