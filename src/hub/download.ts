import { mkdir, stat, statfs } from "node:fs/promises";
import { ReamError } from "../errors.js";
import { fetchBlob } from "./blob.js";
import { blobPath, linkIntoSnapshot, repositoryFolder, snapshotFolder } from "./cache.js";
import { fileError } from "./failures.js";
import { fileUrl, type RemoteFile } from "./listing.js";
import type { Repository } from "./repository.js";
import type { HubOptions } from "./settings.js";

const TOGETHER = 4;
/** Shortest time between two progress events in milliseconds, except for the last of a file. */
const EVENT_INTERVAL = 100;

/** Bytes that `file` still needs on disk. */
async function missing(repository: Repository, file: RemoteFile, options: HubOptions): Promise<number> {
  const blob = blobPath(options.cache, repository, file.etag);
  if ((await stat(blob).catch(() => undefined))?.size === file.size) return 0;
  return file.size - Math.min(file.size, (await stat(`${blob}.incomplete`).catch(() => undefined))?.size ?? 0);
}

/** Errors: HUB_DISK if the missing bytes do not fit. */
async function checkSpace(repository: Repository, files: readonly RemoteFile[], options: HubOptions): Promise<void> {
  let needed = 0;
  for (const file of files) needed += await missing(repository, file, options);
  const folder = repositoryFolder(options.cache, repository);
  if (needed === 0) return;
  await mkdir(folder, { recursive: true });
  const { bavail, bsize } = await statfs(folder);
  if (needed <= bavail * bsize) return;
  const gigabytes = (bytes: number) => `${(bytes / 1e9).toFixed(1)} GB`;
  throw new ReamError("HUB_DISK", `${gigabytes(needed)} are needed and ${gigabytes(bavail * bsize)} are free.`, {
    where: folder,
    hint: "Make room, or set HF_HUB_CACHE to a folder on another disk.",
  });
}

/**
 * Brings files of a repository at a commit into the cache, several at a time, and links them into the snapshot. Returns
 * the snapshot's folder. Errors: HUB_....
 */
export async function downloadFiles(
  repository: Repository,
  commit: string,
  files: readonly RemoteFile[],
  options: HubOptions,
): Promise<string> {
  const snapshot = snapshotFolder(options.cache, repository, commit);
  const totalSize = files.reduce((sum, file) => sum + file.size, 0);
  const stop = new AbortController();
  const inner = { ...options, signal: AbortSignal.any([stop.signal, ...(options.signal ? [options.signal] : [])]) };
  let totalReceived = 0;
  let told = 0;
  const fetchOne = async (file: RemoteFile) => {
    let received = 0;
    const onSize = (size: number) => {
      totalReceived += size - received;
      received = size;
      if (size < file.size && Date.now() - told < EVENT_INTERVAL) return;
      told = Date.now();
      const { name } = repository;
      const sizes = { received, size: file.size, totalReceived, totalSize };
      options.onEvent?.({ type: "hub.download", repository: name, file: file.path, ...sizes });
    };
    const blob = await fetchBlob(repository, file, fileUrl(repository, commit, file.path, options), inner, onSize);
    await linkIntoSnapshot(snapshot, file.path, blob);
  };
  const waiting = [...files];
  const work = async () => {
    for (let file = waiting.shift(); file !== undefined; file = waiting.shift()) await fetchOne(file);
  };
  try {
    await checkSpace(repository, files, options);
    const workers = Array.from({ length: Math.min(TOGETHER, files.length) }, work);
    // On the first failure the others are told to stop, and are waited for: nothing goes on in the background.
    await Promise.all(workers).catch(async (error) => {
      stop.abort();
      await Promise.allSettled(workers);
      throw error;
    });
  } catch (cause) {
    throw fileError(cause, snapshot);
  }
  return snapshot;
}
