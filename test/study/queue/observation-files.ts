import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

/** Contents of an observation's files by name, without what only one run has. */
export function filesOf(out: string): Map<string, string> {
  const names = readdirSync(out, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  const paths = names.map((entry) => join(entry.parentPath, entry.name));
  const kept = paths.filter((path) => !/lock\.\d+$|queue\.json$/.test(path)).sort();
  return new Map(kept.map((path) => [path.slice(out.length), readFileSync(path).toString("base64")]));
}
