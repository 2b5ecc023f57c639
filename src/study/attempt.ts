import { randomUUID } from "node:crypto";
import { link, mkdir, readdir, rename, rm, utimes } from "node:fs/promises";
import { join } from "node:path";
import { syncFolder } from "../checkpoint/durable.js";
import { takeLock } from "../checkpoint/lock.js";
import { ReamError } from "../errors.js";

/** What the folders of attempts begin with, and those in which files of a store arrive, that nobody is to work at. */
const ATTEMPT = "attempt-";
export const FETCH = "fetch-";
/** Its last file, by which a job is done. */
const RESULT = "result.json";
/** Milliseconds between two signs of life. */
const HEARTBEAT = 15_000;

/**
 * A try at a job: all that it makes lies in a folder of its own until it is whole, so that several processes, on several
 * machines, can try the same job at once and none sees the half of another.
 */
export class Attempt {
  private readonly heartbeat: NodeJS.Timeout;

  private constructor(
    private readonly jobFolder: string,
    readonly folder: string,
    private readonly unlock: () => Promise<void>,
  ) {
    this.heartbeat = setInterval(() => {
      const now = new Date();
      void utimes(folder, now, now).catch(() => undefined);
    }, HEARTBEAT).unref();
  }

  /** Goes on with an attempt that nobody works at any more, else begins one. */
  static async begin(jobFolder: string, prefix = ATTEMPT): Promise<Attempt> {
    for (;;) {
      for (const name of await attemptsIn(jobFolder, prefix)) {
        const folder = join(jobFolder, name);
        const unlock = await takeLock(folder).catch(busyOrGone);
        if (unlock !== undefined) return new Attempt(jobFolder, folder, unlock);
      }
      // Whoever is faster may go on with it.
      await mkdir(join(jobFolder, `${prefix}${randomUUID()}`), { recursive: true });
    }
  }

  /**
   * Moves what was made to the job's folder, the result last. What another attempt has put there stays: equal work has
   * equal results. Other attempts are in vain from then on, and deleted.
   */
  async publish(): Promise<void> {
    const { jobFolder, folder } = this;
    const made = (await readdir(folder)).filter((name) => name !== RESULT && !/^(new-)?lock[.-]/.test(name));
    for (const name of made) await rename(join(folder, name), join(jobFolder, name)).catch(unlessThere);
    await syncFolder(jobFolder);
    await placeResult(join(folder, RESULT), join(jobFolder, RESULT));
    await syncFolder(jobFolder);
    clearInterval(this.heartbeat);
    for (const name of [...(await attemptsIn(jobFolder)), ...(await attemptsIn(jobFolder, FETCH))]) {
      // Under another name first: nobody must go on with what is half deleted.
      const vain = join(jobFolder, `vain-${randomUUID()}`);
      const moved = await rename(join(jobFolder, name), vain).then(
        () => true,
        () => false,
      );
      if (moved) await rm(vain, { recursive: true, force: true }).catch(() => undefined);
    }
  }

  /** Leaves an attempt, published or not; what is left of it can be gone on with. */
  async leave(): Promise<void> {
    clearInterval(this.heartbeat);
    await this.unlock();
  }
}

/** Names of the attempts at a job, all that were not finished. */
export async function attemptsIn(jobFolder: string, prefix = ATTEMPT): Promise<string[]> {
  const names = await readdir(jobFolder).catch(() => []);
  return names.filter((name) => name.startsWith(prefix)).sort();
}

/** The first result counts. A link, unlike a renamed file, never replaces another. */
async function placeResult(from: string, to: string): Promise<void> {
  try {
    await link(from, to);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "EEXIST") return;
    // File systems without hard links.
    if (code !== "EPERM" && code !== "ENOTSUP" && code !== "EOPNOTSUPP" && code !== "ENOSYS") throw error;
    await rename(from, to);
  }
}

function unlessThere(error: NodeJS.ErrnoException): void {
  if (error.code !== "ENOTEMPTY" && error.code !== "EEXIST") throw error;
}

function busyOrGone(error: unknown): undefined {
  if (error instanceof ReamError && error.code === "OUTPUT_BUSY") return undefined;
  if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
  throw error;
}
