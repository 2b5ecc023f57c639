import { closeSync, constants, fsyncSync, mkdtempSync, openSync, readSync, rmSync, writeSync } from "node:fs";
import { statfs } from "node:fs/promises";
import { join } from "node:path";
import { ReamError } from "../errors.js";

/** Of the file system that a folder is on. Sizes in bytes, speeds in bytes for each second. */
export interface DiskFacts {
  readonly folder: string;
  readonly free: number;
  readonly total: number;
  /** Of a file that is written in order and flushed to the device. */
  readonly writeSpeed: number;
  readonly readSpeed: number;
  /** The file system cannot read past the system's cache: `readSpeed` is that of the cache. */
  readonly readFromCache: boolean;
}

const PIECE = 2 ** 22;
/** Direct reads want a buffer and sizes at multiples of the device's blocks. */
const BLOCK = 4096;

/** @throws ReamError DISK where the folder cannot be written to */
export async function diskFacts(folder: string, bytes = 16 * PIECE): Promise<DiskFacts> {
  let own: string | undefined;
  try {
    const { bavail, blocks, bsize } = await statfs(folder);
    own = mkdtempSync(join(folder, ".ream-doctor-"));
    const file = join(own, "speed");
    const writeSpeed = write(file, bytes);
    const { speed, cached } = read(file, bytes);
    return { folder, free: bavail * bsize, total: blocks * bsize, writeSpeed, readSpeed: speed, readFromCache: cached };
  } catch (error) {
    if (!(error instanceof Error && "code" in error)) throw error;
    const hint = "Name a folder that can be written to, with 64 MB free.";
    throw new ReamError("DISK", `the speed of a disk could not be measured: ${error.message}`, { where: folder, hint });
  } finally {
    if (own !== undefined) rmSync(own, { recursive: true, force: true });
  }
}

function write(file: string, bytes: number): number {
  // Not zeros: some file systems do not store them.
  const piece = new Uint8Array(PIECE).map((_, i) => (i * 2_654_435_761) >>> 13);
  const handle = openSync(file, "w");
  try {
    const began = performance.now();
    for (let at = 0; at < bytes; at += PIECE) writeSync(handle, piece);
    fsyncSync(handle);
    return bytes / ((performance.now() - began) / 1000);
  } finally {
    closeSync(handle);
  }
}

function read(file: string, bytes: number): { readonly speed: number; readonly cached: boolean } {
  const buffer = new Uint8Array(PIECE + BLOCK);
  const direct = openDirect(file, buffer);
  const handle = direct?.handle ?? openSync(file, "r");
  try {
    const began = performance.now();
    for (let at = 0; at < bytes; at += PIECE) readSync(handle, buffer, direct?.start ?? 0, PIECE, at);
    return { speed: bytes / ((performance.now() - began) / 1000), cached: direct === undefined };
  } finally {
    closeSync(handle);
  }
}

/** The file opened past the cache, and where in the buffer a block begins; undefined where the system has no such thing. */
function openDirect(file: string, buffer: Uint8Array) {
  if (constants.O_DIRECT === undefined) return undefined;
  let handle: number;
  try {
    handle = openSync(file, constants.O_RDONLY | constants.O_DIRECT);
  } catch {
    return undefined;
  }
  // A buffer does not tell its address; reads to a place that is no multiple of a block are refused.
  for (let start = 0; start < BLOCK; start += 8) {
    try {
      readSync(handle, buffer, start, BLOCK, 0);
      return { handle, start };
    } catch {
      // Not here.
    }
  }
  closeSync(handle);
  return undefined;
}
