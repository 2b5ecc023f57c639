import { join } from "node:path";
import { ReamError } from "../errors.js";
import { cachedCommit, snapshotFiles, snapshotFolder, writeRef } from "./cache.js";
import { downloadFiles } from "./download.js";
import { fileError } from "./failures.js";
import { currentCommit, listRepository } from "./listing.js";
import { parseHubId, type Repository, repositoryLabel } from "./repository.js";
import type { HubOptions } from "./settings.js";

/** A dataset of the hub at one commit, whose files are downloaded when asked for. */
export interface Dataset {
  /** `hf://datasets/org/name@commit` */
  readonly label: string;
  readonly commit: string;
  /** Paths of its files, sorted; offline, of those in the cache. */
  readonly files: readonly string[];
  /** Local path of a file; downloads it if it is not in the cache. Errors: HUB_.... */
  file(path: string): Promise<string>;
}

async function offlineDataset(repository: Repository, options: HubOptions): Promise<Dataset> {
  const commit = await cachedCommit(options.cache, repository);
  const snapshot = commit === undefined ? undefined : snapshotFolder(options.cache, repository, commit);
  const all = snapshot === undefined ? [] : await snapshotFiles(snapshot);
  const files = all.filter((file) => `${file}/`.startsWith(repository.path === "" ? "" : `${repository.path}/`));
  if (commit === undefined || snapshot === undefined || files.length === 0) {
    throw new ReamError("HUB_OFFLINE", `The cache holds no files of ${repository.name}@${repository.revision}.`, {
      where: options.cache,
      hint: "Unset HF_HUB_OFFLINE to download them, or give a local file.",
    });
  }
  return { label: repositoryLabel(repository, commit), commit, files, file: async (path) => join(snapshot, path) };
}

/** Opens a dataset by hub id (`org/name[@revision]`, `hf://datasets/org/name[@revision][/path]`). Errors: HUB_.... */
export async function openDataset(id: string, options: HubOptions): Promise<Dataset> {
  const repository = parseHubId(id, "dataset");
  if (options.offline) return offlineDataset(repository, options);
  const commit = await currentCommit(repository, options);
  const listed = await listRepository(repository, commit, options);
  try {
    await writeRef(options.cache, repository, commit);
  } catch (cause) {
    throw fileError(cause, options.cache);
  }
  const byPath = new Map(listed.map((file) => [file.path, file]));
  return {
    label: repositoryLabel(repository, commit),
    commit,
    files: listed.map(({ path }) => path),
    async file(path) {
      const file = byPath.get(path);
      if (file === undefined) throw new RangeError(`${path} is not a file of ${id}`);
      return join(await downloadFiles(repository, commit, [file], options), path);
    },
  };
}
