import { realpath } from "node:fs/promises";
import { basename, dirname, join, sep } from "node:path";
import { ReamError } from "../errors.js";
import { fileError } from "./file-pool.js";
import { quote } from "./json-scanner.js";

const MAX_NAME = 1024;

/**
 * Checks a file name that comes from a checkpoint: relative, with "/" between its parts, leading nowhere but into the
 * folder on any operating system. Throws `FILE_NAME`.
 */
export function checkFileName(name: string, where: string): string {
  const parts = name.split("/");
  const bad =
    name.length > MAX_NAME ||
    parts.some((part) => part === "" || part === "." || part === "..") ||
    // Backslash and colon (drives, streams, "://") separate or redirect elsewhere; control characters end names in C.
    // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
    /[\\:\x00-\x1f\x7f]/.test(name);
  if (bad) {
    throw new ReamError("FILE_NAME", `${quote(name)} is not the name of a file in the folder`, {
      where,
      hint: "Do not use this checkpoint: such a name points outside its folder.",
    });
  }
  return name;
}

/**
 * Real path of a file in a checkpoint's folder. Links must stay in the folder, but those of the Hugging Face cache, from
 * models--org--name/snapshots/<commit>/ to models--org--name/blobs/, are followed. Throws `FILE_MISSING`, `FILE_OUTSIDE`.
 */
export async function resolveInside(folder: string, name: string): Promise<string> {
  const path = join(folder, name);
  try {
    const root = await realpath(folder);
    const target = await realpath(path);
    if (allowedRoots(root).some((allowed) => target.startsWith(allowed + sep))) return target;
  } catch (error) {
    throw fileError(error, path);
  }
  throw new ReamError("FILE_OUTSIDE", "the link leads out of the checkpoint's folder", {
    where: path,
    hint: "Replace the link by the file itself if you trust it.",
  });
}

function allowedRoots(root: string): string[] {
  const snapshots = dirname(root);
  const repository = dirname(snapshots);
  const isCache = basename(snapshots) === "snapshots" && basename(repository).startsWith("models--");
  return isCache ? [root, join(repository, "blobs")] : [root];
}
