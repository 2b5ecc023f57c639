import { type FileHandle, mkdir, open, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";
import { ReamError } from "../errors.js";

/**
 * Writes a file so that it appears whole or not at all, even if the power fails: under a temporary name, flushed to the
 * disk, renamed, and the folder flushed. `temporary` must lie on the same file system.
 */
export async function writeDurably(
  path: string,
  temporary: string,
  write: (handle: FileHandle) => Promise<void>,
): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  await replaceDurably(path, temporary, write);
}

/** As `writeDurably`, into folders that have to be there: where they are gone, nobody wants the file any more. */
export async function replaceDurably(
  path: string,
  temporary: string,
  write: (handle: FileHandle) => Promise<void>,
): Promise<void> {
  try {
    const handle = await open(temporary, "w");
    try {
      await write(handle);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(temporary, path);
  } catch (error) {
    // The room may be needed; that this fails too must not hide the reason.
    await rm(temporary, { force: true }).catch(() => undefined);
    throw error;
  }
  await syncFolder(dirname(path));
}

/** Makes renamed and deleted names in a folder durable. */
export async function syncFolder(folder: string): Promise<void> {
  // Windows cannot open folders; there a rename is durable as soon as the file system says so.
  if (process.platform === "win32") return;
  const handle = await open(folder, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Writes all bytes, however many calls it takes. */
export async function writeFully(handle: FileHandle, bytes: Uint8Array): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    done += (await handle.write(bytes, done, Math.min(bytes.length - done, 2 ** 30))).bytesWritten;
  }
}

/** Writes values as JSON lines, some at a time: all of them together may be more than one text can hold. */
export async function writeJsonLines(handle: FileHandle, values: Iterable<unknown>): Promise<void> {
  let waiting = "";
  for (const value of values) {
    waiting += `${JSON.stringify(value)}\n`;
    if (waiting.length < 2 ** 20) continue;
    await writeFully(handle, Buffer.from(waiting));
    waiting = "";
  }
  await writeFully(handle, Buffer.from(waiting));
}

/** Writes a value as an indented JSON file, durably. */
export async function writeJsonFile(path: string, value: unknown): Promise<void> {
  await writeTextFile(path, `${JSON.stringify(value, null, 2)}\n`);
}

/** Writes a text file, durably. */
export async function writeTextFile(path: string, text: string): Promise<void> {
  await writeDurably(path, `${path}.partial`, (handle) => writeFully(handle, Buffer.from(text)));
}

const REASONS: Readonly<Record<string, string>> = {
  ENOSPC: "the disk is full",
  EDQUOT: "the disk quota is used up",
  EFBIG: "the file is larger than the system allows",
  EIO: "the disk reports a fault",
  EROFS: "the file system is read-only",
  EACCES: "there is no permission to write",
  EPERM: "there is no permission to write",
  ENOENT: "its folder is not there",
  EISDIR: "it is a folder",
  ENOTDIR: "a part of the path is a file",
};

/** A failed system call while writing `path` as `OUTPUT_WRITE`; other errors stay as they are. */
export function writeError(error: unknown, path: string): unknown {
  const code = (error as NodeJS.ErrnoException).code;
  if (error instanceof ReamError || typeof code !== "string" || !/^E[A-Z0-9]+$/.test(code)) return error;
  return new ReamError("OUTPUT_WRITE", `${REASONS[code] ?? "writing failed"} (${code})`, {
    where: path,
    hint: "Make room or choose another output folder. What is done is kept: the same command goes on from there.",
    cause: error,
  });
}
