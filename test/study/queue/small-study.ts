import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { stringify } from "yaml";
import type { StudyResults } from "../../../src/study/results.js";

const demo = fileURLToPath(new URL("../../../demo/", import.meta.url));
export const MODEL = join(demo, "model");
export const calibration = (domain: string) => join(demo, "data/calibration", `${domain}.jsonl`);

/** A study of the demo model whose jobs take about a second. One of the methods fails in every job. */
const STUDY = {
  title: "Small",
  model: MODEL,
  domains: { general: calibration("general"), math: calibration("math") },
  sequences: 8,
  length: 32,
  mixes: ["general=1", "math=1", "general=0.5,math=0.5"],
  methods: ["reap", "frequency", { name: "wrong", method: "reap", statistics: "batch-means" }],
  experts: [48],
  tasks: ["facts", "sums"],
  limit: 3,
  heldOut: { math: join(demo, "data/heldout/math.jsonl") },
  heldOutSequences: 2,
  threads: 1,
};

export function writeStudy(folder: string, changes: object = {}): string {
  const path = join(folder, "study.yaml");
  writeFileSync(path, stringify({ ...STUDY, ...changes }));
  return path;
}

/** Results of a study without what differs from run to run. */
export function resultsOf(out: string): StudyResults {
  const results: StudyResults = JSON.parse(readFileSync(join(out, "results.json"), "utf8"));
  const rows = results.rows.map(({ seconds: _, memoryBytes: __, ...row }) => row);
  return { ...results, rows };
}

/** Names of everything in the folders of a study's jobs, by job. */
export function jobFiles(out: string): Record<string, readonly string[]> {
  const ids = readdirSync(join(out, "jobs")).sort();
  return Object.fromEntries(ids.map((id) => [id, readdirSync(join(out, "jobs", id)).sort()]));
}

/** The same, without what is left of single tries. */
export function publishedFiles(out: string): Record<string, readonly string[]> {
  const published = (names: readonly string[]) => names.filter((name) => !/^log|^attempt/.test(name));
  return Object.fromEntries(Object.entries(jobFiles(out)).map(([id, names]) => [id, published(names)]));
}
