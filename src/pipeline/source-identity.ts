import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { lstat, readlink, stat } from "node:fs/promises";
import { basename, join } from "node:path";
import { fileError } from "../checkpoint/file-pool.js";
import type { OpenedModel } from "./open-model.js";

/** A file of the source checkpoint as the manifest names it. */
export interface FileIdentity {
  readonly name: string;
  readonly bytes: number;
  readonly sha256: string;
}

/** Name, size and modification time of each file: cheap, and enough to notice that a source changed between two runs. */
export async function quickIdentity(folder: string, names: readonly string[]): Promise<string> {
  const hash = createHash("sha256");
  for (const name of [...names].sort()) {
    const { size, mtimeMs } = await stat(join(folder, name));
    hash.update(`${name}\n${size}\n${mtimeMs}\n`);
  }
  return hash.digest("hex");
}

/** `quickIdentity` of a model: its config and all files with tensors. */
export function modelIdentity({ checkpoint, folder }: Pick<OpenedModel, "checkpoint" | "folder">): Promise<string> {
  const files = new Set([...checkpoint.tensors.values()].map(({ file }) => file));
  return quickIdentity(folder, [...files, "config.json"]);
}

/** With SHA-256 of the file's content. Files of the Hugging Face cache are named by it, so that they are not read again. */
export async function contentIdentity(folder: string, name: string): Promise<FileIdentity> {
  const path = join(folder, name);
  const { size } = await stat(path);
  return { name, bytes: size, sha256: (await cachedDigest(path)) ?? (await fileDigest(path)) };
}

async function cachedDigest(path: string): Promise<string | undefined> {
  if (!(await lstat(path)).isSymbolicLink()) return undefined;
  const target = basename(await readlink(path));
  return /^[0-9a-f]{64}$/.test(target) ? target : undefined;
}

/** SHA-256 of a file's content. Errors: FILE_MISSING, FILE_READ. */
export async function fileDigest(path: string): Promise<string> {
  const hash = createHash("sha256");
  try {
    for await (const chunk of createReadStream(path, { highWaterMark: 4 * 1024 * 1024 })) hash.update(chunk as Buffer);
  } catch (error) {
    throw fileError(error, path);
  }
  return hash.digest("hex");
}
