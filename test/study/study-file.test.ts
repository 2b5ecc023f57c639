import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { readStudy } from "../../src/study/study-file.js";

const folder = mkdtempSync(join(tmpdir(), "ream-study-file-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function read(text: string, name = "study.yaml") {
  const path = join(folder, name);
  writeFileSync(path, text);
  return readStudy(path);
}

const LEAST = "model: org/model\ndomains: {general: c4, code: ./code.jsonl}\nexperts: [48]\n";

test("what is not said has defaults, and paths that start with a dot are beside the file", async () => {
  const study = await read(
    `${LEAST}mixes: ["general=1"]\nout: ./results\ndata: ["sums=./sums.jsonl"]\ntasks: [mc, ./task.yaml]`,
  );
  expect(study).toMatchObject({
    ...{ model: "org/model", modelName: "org/model", title: "Study of org/model", out: join(folder, "results") },
    ...{ sequences: 3072, length: 512, seeds: [42], observed: true, mixes: ["general=1"] },
    domains: { general: "c4", code: join(folder, "code.jsonl") },
    data: [`sums=${join(folder, "sums.jsonl")}`],
    tasks: ["mc", join(folder, "task.yaml")],
  });
  expect(study.methods.map(({ name }) => name)).toEqual(["ream", "reap"]);
});

test("mixes by name, as a simplex, and as a list; methods with settings of their own", async () => {
  const three = LEAST.replace("code:", "math: m, code:");
  expect((await read(three)).mixes).toHaveLength(10);
  const simplex = (await read(`${three}mixes: {simplex: 2}`)).mixes;
  expect(simplex).toHaveLength(6);
  expect(simplex).toContain("general=1/2,math=0/2,code=1/2");
  const study = await read(
    `${LEAST}mixes: [{general: 0.2, code: 0.8}, "general=1"]\nmethods: [reap, {name: mine, method: ream, saliency: energy}]`,
  );
  expect(study.mixes).toEqual(["general=0.2,code=0.8", "general=1"]);
  expect(study.methods[1]).toEqual({ name: "mine", method: "ream", settings: { saliency: "energy" } });
});

test("methods may guard merges and refit layers, where compressions run their own text", async () => {
  const method = "{name: better, method: ream, guard: true, reconstruct: down+up, reconstructTokens: 4096}";
  const study = await read(`${LEAST}mixes: ["general=1"]\nobserved: false\nmethods: [ream, ${method}]`);
  expect(study.methods[0]!.settings).toEqual({});
  expect(study.methods[1]!.settings).toEqual({ guard: true, reconstruct: "down+up", reconstructTokens: 4096 });
  const observed = read(`${LEAST}mixes: ["general=1"]\nmethods: [ream, ${method}]`);
  await expect(observed).rejects.toThrow(/better looks at calibration text.*observed: false/);
});

test.each([
  ["not there", undefined],
  ["no model", LEAST.replace("model: org/model", "")],
  ["an unknown key", `${LEAST}methodz: [ream]`],
  ["an unknown method", `${LEAST}mixes: ["general=1"]\nmethods: [magic]`],
  ["a setting with a wrong value", `${LEAST}mixes: ["general=1"]\nmethods: [{name: a, method: ream, saliency: x}]`],
  ["two methods of one name", `${LEAST}mixes: ["general=1"]\nmethods: [reap, reap]`],
  ["a mix of an unknown domain", `${LEAST}mixes: ["latin=1"]`],
  ["the paper's mixes of other domains", LEAST],
  ["shares that do not add up", `${LEAST}mixes: ["general=0.4,code=0.4"]`],
  ["a search without held-out text", `${LEAST}mixes: ["general=1"]\nsearch: {budget: 2}`],
  ["no YAML", "model: [org"],
])("%s is an error that names the file", async (_, text) => {
  const reading = text === undefined ? readStudy(join(folder, "none.yaml")) : read(text);
  await expect(reading).rejects.toMatchObject({ code: expect.stringMatching(/^(STUDY_FILE|CALIBRATION_MIX)$/) });
});

test("a search that is asked for stands for the file's", async () => {
  const text = `${LEAST}mixes: ["general=1"]\nheldOut: {code: ./held.jsonl}\nsearch: {budget: 2}`;
  const path = join(folder, "search.yaml");
  writeFileSync(path, text);
  expect((await readStudy(path)).search).toEqual({ budget: 2 });
  expect((await readStudy(path, { search: { budget: 5 } })).search).toEqual({ budget: 5 });
});
