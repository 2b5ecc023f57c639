import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { calibration } from "./small-study.js";

/** Contents of an observation's files by name, without what only one run has. */
export function filesOf(out: string): Map<string, string> {
  const names = readdirSync(out, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  const paths = names.map((entry) => join(entry.parentPath, entry.name));
  const kept = paths.filter((path) => !/lock\.\d+$|queue\.json$/.test(path)).sort();
  return new Map(kept.map((path) => [path.slice(out.length), readFileSync(path).toString("base64")]));
}

/** Flags of an observation of two domains that takes some seconds, cut for these mixes. */
export function observationFlags(...mixes: readonly string[]): string[] {
  const text = ["general", "math"].flatMap((name) => ["--domain", `${name}=${calibration(name)}`]);
  return [...text, "--sequences", "48", "--length", "64", ...mixes.flatMap((mix) => ["--mix", mix])];
}
