import type { BigIntStats } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { ReamError } from "../errors.js";

interface OpenFile {
  readonly handle: Promise<FileHandle>;
  users: number;
}

/**
 * Opens files for positioned reads and keeps the last few open. A file that was replaced or changed between two openings
 * is refused, so that a checkpoint is never read half from one version and half from another.
 */
export class FilePool {
  /** Least recently used first. */
  private readonly files = new Map<string, OpenFile>();
  private readonly versions = new Map<string, string>();
  private closed = false;

  constructor(private readonly limit = 16) {}

  /** Runs `action` with the open file; the handle is the pool's and must not be closed or kept. */
  async use<T>(path: string, action: (handle: FileHandle) => Promise<T>): Promise<T> {
    if (this.closed) throw new Error(`${path} is read after its checkpoint was closed`);
    const file = this.files.get(path) ?? { handle: this.open(path), users: 0 };
    const handle = file.handle.catch((error: unknown) => {
      if (this.files.get(path) === file) this.files.delete(path);
      throw error;
    });
    file.users++;
    this.files.delete(path);
    this.files.set(path, file);
    try {
      return await action(await handle);
    } catch (error) {
      throw fileError(error, path);
    } finally {
      file.users--;
      await this.closeIdle();
    }
  }

  async close(): Promise<void> {
    this.closed = true;
    await this.closeIdle();
  }

  private async open(path: string): Promise<FileHandle> {
    const handle = await open(path, "r");
    try {
      const stats = await handle.stat({ bigint: true });
      if (!stats.isFile()) throw new ReamError("FILE_READ", "not a regular file", { where: path });
      if (version(stats) !== (this.versions.get(path) ?? version(stats))) {
        throw new ReamError("FILE_CHANGED", "the file was replaced or changed while it was in use", {
          where: path,
          hint: "Wait until whatever writes it is done, then start again.",
        });
      }
      this.versions.set(path, version(stats));
      return handle;
    } catch (error) {
      await handle.close();
      throw error;
    }
  }

  private async closeIdle(): Promise<void> {
    for (const [path, file] of this.files) {
      if (!this.closed && this.files.size <= this.limit) return;
      if (file.users > 0) continue;
      this.files.delete(path);
      await (await file.handle).close();
    }
  }
}

function version(stats: BigIntStats): string {
  return `${stats.dev} ${stats.ino} ${stats.size} ${stats.mtimeNs}`;
}

/** A failed system call on `path` as an error for the user; other errors stay as they are. */
export function fileError(error: unknown, path: string): unknown {
  const code = (error as NodeJS.ErrnoException).code;
  if (error instanceof ReamError || typeof code !== "string" || !/^E[A-Z0-9]+$/.test(code)) return error;
  if (code === "ENOENT" || code === "ENOTDIR") {
    return new ReamError("FILE_MISSING", "the file does not exist", { where: path, cause: error });
  }
  return new ReamError("FILE_READ", `the file cannot be read (${code})`, {
    where: path,
    hint: code === "EIO" ? "The disk reports a fault; copy the checkpoint to another one." : "Check its permissions.",
    cause: error,
  });
}
