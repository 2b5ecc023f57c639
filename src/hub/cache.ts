import { randomUUID } from "node:crypto";
import { copyFile, mkdir, readdir, readFile, rename, rm, stat, symlink, writeFile } from "node:fs/promises";
import { dirname, join, relative } from "node:path";
import { isCommit, isSafePath, type Repository } from "./repository.js";

/** Folder of a repository in the cache: models--org--name or datasets--org--name. */
export function repositoryFolder(cache: string, repository: Repository): string {
  return join(cache, repositoryFolderName(repository));
}

export function repositoryFolderName({ type, name }: Repository): string {
  return `${type}s--${name.replaceAll("/", "--")}`;
}

export function snapshotFolder(cache: string, repository: Repository, commit: string): string {
  return join(repositoryFolder(cache, repository), "snapshots", commit);
}

export function blobPath(cache: string, repository: Repository, etag: string): string {
  return join(repositoryFolder(cache, repository), "blobs", etag);
}

/** Lock of a blob, in the folder that Hugging Face tools keep locks in but under a name of its own: their locks are of another kind. */
export function lockPath(cache: string, repository: Repository, etag: string): string {
  return join(cache, ".locks", repositoryFolderName(repository), `${etag}.ream.lock`);
}

/** Does `create` under a temporary name beside `path`, then renames: `path` is never half there. */
async function replace(path: string, create: (temporary: string) => Promise<void>): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  const temporary = `${path}.${randomUUID()}.tmp`;
  try {
    await create(temporary);
    await rename(temporary, path);
  } finally {
    await rm(temporary, { force: true });
  }
}

/** Notes which commit a branch or tag stood for when it was last asked. */
export async function writeRef(cache: string, repository: Repository, commit: string): Promise<void> {
  if (repository.revision === commit) return;
  const path = join(repositoryFolder(cache, repository), "refs", repository.revision);
  await replace(path, (temporary) => writeFile(temporary, commit));
}

/** The commit of the revision as far as the cache knows. */
export async function cachedCommit(cache: string, repository: Repository): Promise<string | undefined> {
  if (isCommit(repository.revision)) return repository.revision;
  const path = join(repositoryFolder(cache, repository), "refs", repository.revision);
  const commit = (await readFile(path, "utf8").catch(() => "")).trim();
  return isCommit(commit) ? commit : undefined;
}

/** Puts a blob into a snapshot under the name of its file, as a relative link; as a copy where there are no links. */
export async function linkIntoSnapshot(snapshot: string, file: string, blob: string): Promise<string> {
  const path = join(snapshot, file);
  await replace(path, async (temporary) => {
    try {
      await symlink(relative(dirname(path), blob), temporary);
    } catch (error) {
      if (!["EPERM", "ENOSYS", "ENOTSUP"].includes((error as NodeJS.ErrnoException).code ?? "")) throw error;
      await copyFile(blob, temporary);
    }
  });
  return path;
}

/** Files of a snapshot that are whole, by relative path, sorted; links without their blob are left out. */
export async function snapshotFiles(snapshot: string): Promise<string[]> {
  const entries = await readdir(snapshot, { recursive: true, withFileTypes: true }).catch(() => []);
  const files: string[] = [];
  for (const entry of entries) {
    const path = join(entry.parentPath, entry.name);
    const name = relative(snapshot, path).replaceAll("\\", "/");
    if (entry.isDirectory() || name.endsWith(".tmp") || !isSafePath(name)) continue;
    if ((await stat(path).catch(() => undefined))?.isFile()) files.push(name);
  }
  return files.sort();
}
