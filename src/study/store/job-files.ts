import { readdir } from "node:fs/promises";
import { join, relative, sep } from "node:path";

/** What is this machine's own in a job's folder: tries, and what is noted of them. */
const OWN = /^((attempt|fetch|vain)-.*|log\.jsonl|failure\.json)$/;
const LOCK = /^(new-)?lock[.-]/;

/** The files of a job that is done, below its folder, with slashes. */
export async function jobFiles(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile() && !LOCK.test(entry.name));
  const paths = files.map(({ parentPath, name }) => relative(folder, join(parentPath, name)).split(sep));
  return paths.flatMap((parts) => (OWN.test(parts[0]!) ? [] : [parts.join("/")])).sort();
}
