import { createHash, type Hash } from "node:crypto";
import { createReadStream } from "node:fs";
import { type FileHandle, mkdir, open, rename, rm, stat } from "node:fs/promises";
import { dirname } from "node:path";
import { ReamError } from "../errors.js";
import { blobPath, lockPath } from "./cache.js";
import { fileError, isTemporary, unreachable } from "./failures.js";
import type { RemoteFile } from "./listing.js";
import { withLock } from "./lock.js";
import type { Repository } from "./repository.js";
import { backOff, type HubResponse, hubRequest } from "./request.js";
import type { HubOptions } from "./settings.js";

/** Downloads with wrong content after which no other is tried. */
const MAX_USELESS = 2;

/** Hash whose hex digest is the file's etag: SHA-256 for large files, git's blob SHA-1 for others. */
function contentHash(file: RemoteFile): Hash {
  return file.large ? createHash("sha256") : createHash("sha1").update(`blob ${file.size}\0`);
}

async function sizeOf(path: string): Promise<number | undefined> {
  return (await stat(path).catch(() => undefined))?.size;
}

async function hashOf(path: string, file: RemoteFile): Promise<string> {
  const hash = contentHash(file);
  for await (const chunk of createReadStream(path, { highWaterMark: 2 ** 20 })) hash.update(chunk);
  return hash.digest("hex");
}

/** The etag that the hub itself gives for a file, if it is one of content. A mirror's or a CDN's may be anything. */
function statedEtag(headers: Headers): string | undefined {
  const text = headers.get("x-linked-etag") ?? headers.get("etag");
  const etag = text?.replace(/^W\//, "").replaceAll('"', "");
  return etag !== undefined && /^([0-9a-f]{40}|[0-9a-f]{64})$/.test(etag) ? etag : undefined;
}

/** Where the body of an answer belongs in the file; undefined if it does not continue what is there. */
function bodyStart({ response }: HubResponse, file: RemoteFile): number | undefined {
  if (response.status === 200) return 0;
  const [, first, total] = /^bytes (\d+)-\d+\/(\d+|\*)$/.exec(response.headers.get("content-range") ?? "") ?? [];
  return first === undefined || (total !== "*" && Number(total) !== file.size) ? undefined : Number(first);
}

/** Appends the body to the partial file. Returns normally if it ends early: the size tells. */
async function writeBody(
  handle: FileHandle,
  start: number,
  answer: HubResponse,
  onSize: (size: number) => void,
  limit: number,
) {
  let position = start;
  for await (const chunk of answer.response.body ?? []) {
    answer.alive();
    if (position + chunk.length > limit) return false;
    for (let done = 0; done < chunk.length; ) {
      done += (await handle.write(chunk, done, chunk.length - done, position + done)).bytesWritten;
    }
    position += chunk.length;
    onSize(position);
  }
  return true;
}

/** One request for what is missing of a file. Returns false if the partial file is of no use and has to go. */
async function fetchRest(
  url: string,
  partial: string,
  file: RemoteFile,
  options: HubOptions,
  onSize: (n: number) => void,
) {
  const start = (await sizeOf(partial)) ?? 0;
  if (start > file.size) return false;
  if (start === file.size && file.size > 0) return true;
  // Without "identity", fetch would ask for compression, and ranges would count compressed bytes.
  const headers = { "accept-encoding": "identity", ...(start > 0 ? { range: `bytes=${start}-` } : {}) };
  const answer = await hubRequest(url, options, headers);
  try {
    const etag = statedEtag(answer.first);
    if (answer.response.status === 416 || (etag !== undefined && etag !== file.etag)) return false;
    const from = bodyStart(answer, file);
    if (from === undefined || (from !== 0 && from !== start)) return false;
    const handle = await open(partial, start > 0 ? "r+" : "w");
    try {
      await handle.truncate(from);
      return await writeBody(handle, from, answer, onSize, file.size);
    } finally {
      await handle.close();
    }
  } finally {
    answer.abort();
  }
}

function mismatch(url: string, file: RemoteFile): ReamError {
  return new ReamError("HUB_HASH_MISMATCH", `${file.path} does not have the hash or size that the hub lists for it.`, {
    where: url,
    hint: "Run again later; if it stays so, a proxy or mirror (HF_ENDPOINT) gives wrong data.",
  });
}

async function download(url: string, blob: string, file: RemoteFile, options: HubOptions, onSize: (n: number) => void) {
  const partial = `${blob}.incomplete`;
  await mkdir(dirname(blob), { recursive: true });
  // What is left of an earlier run may have been damaged since: its fault is not the hub's.
  let useless = ((await sizeOf(partial)) ?? 0) > 0 ? -1 : 0;
  for (let attempt = 1; ; ) {
    const before = (await sizeOf(partial)) ?? 0;
    let failure: unknown;
    try {
      const usable = await fetchRest(url, partial, file, options, onSize);
      if (usable && (await sizeOf(partial)) === file.size && (await hashOf(partial, file)) === file.etag) break;
      if (!usable || (await sizeOf(partial)) === file.size) {
        await rm(partial, { force: true });
        useless += 1;
        onSize(0);
        if (useless >= MAX_USELESS) throw mismatch(url, file);
        continue;
      }
      failure = unreachable(new Error("the answer ended early"), url, options);
    } catch (cause) {
      options.signal?.throwIfAborted();
      if (cause instanceof ReamError || !isTemporary(cause)) throw fileError(cause, partial);
      failure = unreachable(cause, url, options);
    }
    // Attempts count as long as nothing comes: a large file on a bad line may break many times.
    attempt = ((await sizeOf(partial)) ?? 0) > before ? 1 : attempt + 1;
    if (attempt > options.attempts) throw failure;
    await backOff(url, attempt, (failure as Error).message, options);
  }
  const handle = await open(partial, "r+");
  await handle.sync().finally(() => handle.close());
  await rename(partial, blob);
}

/**
 * Makes sure that the content of a file is in the cache, and returns its path. Continues partial files, checks size and
 * hash, and lets one process at a time download the same content. `onSize`: bytes that are here.
 * Errors: HUB_....
 */
export async function fetchBlob(
  repository: Repository,
  file: RemoteFile,
  url: string,
  options: HubOptions,
  onSize: (size: number) => void,
): Promise<string> {
  const blob = blobPath(options.cache, repository, file.etag);
  const isThere = async () => (await sizeOf(blob)) === file.size;
  if (!(await isThere())) {
    const onWait = () =>
      options.onEvent?.({ type: "hub.wait", file: file.path, reason: "the same content is being downloaded already" });
    try {
      await withLock(
        lockPath(options.cache, repository, file.etag),
        async () => {
          if (!(await isThere())) await download(url, blob, file, options, onSize);
        },
        onWait,
        options.signal,
      );
    } catch (cause) {
      throw fileError(cause, blob);
    }
  }
  onSize(file.size);
  return blob;
}
