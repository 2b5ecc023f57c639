import { lstat, readdir, readFile, realpath, rm } from "node:fs/promises";
import { basename, dirname, join, sep } from "node:path";
import { ReamError } from "../errors.js";
import { writeDurably, writeFully } from "./durable.js";

/** Name of the folder in an unfinished output that holds its lock, fingerprint and journal. */
export const STATE = ".ream";
/** Name of the folder in an unfinished output that becomes the output. */
export const CONTENT = "model";

/** Refuses a path that is taken, by anything but an empty folder: `OUTPUT_EXISTS`. */
export async function refuseExisting(path: string): Promise<void> {
  const found = await lstat(path).catch(() => undefined);
  if (found === undefined) return;
  if (found.isDirectory() && (await readdir(path)).length === 0) return;
  throw new ReamError("OUTPUT_EXISTS", "the output is already there", {
    where: path,
    hint: "Choose another folder, or delete this one if it is no longer needed.",
  });
}

/** Refuses outputs that lie in the source or hold it: `OUTPUT_IN_SOURCE`. */
export async function refuseInside(source: string, outputs: readonly string[]): Promise<void> {
  const root = await realpath(source);
  for (const output of outputs) {
    const path = await realpathOfFuture(output);
    if (path === root || path.startsWith(root + sep) || root.startsWith(path + sep)) {
      throw new ReamError("OUTPUT_IN_SOURCE", "the output and the source lie in one another", {
        where: `${output} and ${root}`,
        hint: "Choose a folder beside the source.",
      });
    }
  }
}

/** Real path that a file would have, of which only a first part need exist. */
async function realpathOfFuture(path: string): Promise<string> {
  try {
    return await realpath(path);
  } catch {
    const parent = dirname(path);
    return parent === path ? path : join(await realpathOfFuture(parent), basename(path));
  }
}

/** A folder of that name that no run of this program made is left alone: `RESUME_MISMATCH`. */
export async function refuseForeign(partial: string): Promise<void> {
  const names = await readdir(partial).catch((error: NodeJS.ErrnoException): string[] => {
    if (error.code === "ENOENT") return [];
    throw error;
  });
  if (names.length > 0 && !names.includes(STATE))
    throw mismatch(partial, "holds files that are not of an unfinished run");
}

/** Removes what a crash right after the last rename left: the state of a run whose output has its name already. */
export async function clearFinished(path: string): Promise<void> {
  const partial = `${path}.partial`;
  const names = await readdir(partial).catch((): string[] => []);
  if (names.includes(STATE) && !names.includes(CONTENT)) await rm(partial, { recursive: true, force: true });
}

/** Throws away what an earlier run left. */
export async function empty(partial: string): Promise<void> {
  // The journal goes first, so that a crash never leaves one that tells of files that are gone; the fingerprint last, so
  // that what is left is known to be of that run.
  await rm(join(partial, STATE, "journal.jsonl"), { force: true });
  for (const name of await readdir(partial)) {
    if (name !== STATE) await rm(join(partial, name), { recursive: true });
  }
  await rm(join(partial, STATE, "fingerprint"), { force: true });
}

/** Marks a new output with the identity of its work, or checks it: `RESUME_MISMATCH`. */
export async function matchFingerprint(partial: string, fingerprint: string): Promise<void> {
  const path = join(partial, STATE, "fingerprint");
  const known = await readFile(path, "utf8").catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return undefined;
    throw error;
  });
  if (known === undefined) {
    await writeDurably(path, `${path}.new`, (handle) => writeFully(handle, Buffer.from(fingerprint)));
  } else if (known !== fingerprint) {
    throw mismatch(partial, "was made from another source or with other options");
  }
}

function mismatch(partial: string, what: string): ReamError {
  return new ReamError("RESUME_MISMATCH", `the unfinished output ${what}`, {
    where: partial,
    hint: "Use the same source and options to go on with it, --restart to begin anew, or delete the folder.",
  });
}
