import { mkdir, open, rename, rm, rmdir, stat } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { syncFolder, writeDurably, writeError, writeFully } from "./durable.js";
import { fileError } from "./file-pool.js";
import { Journal, type JournalEntry } from "./journal.js";
import { takeLock } from "./lock.js";
import {
  CONTENT,
  clearFinished,
  empty,
  matchFingerprint,
  refuseExisting,
  refuseForeign,
  refuseInside,
  STATE,
} from "./output-checks.js";
import { checkFileName } from "./paths.js";
import { type TensorLayout, tensorBytes } from "./safetensors-encode.js";
import { type ShardTensor, writeTensors } from "./shard-writer.js";

export interface OutputOptions {
  /** Identity of the work. An unfinished output with the same one is gone on with, another is refused. */
  readonly fingerprint: string;
  /** Folder of the source checkpoint, which the output must not touch. */
  readonly source?: string | undefined;
  /** Throw away an unfinished output of an earlier run. */
  readonly restart?: boolean | undefined;
}

/**
 * A folder that appears under its name only when it is whole. It is built beside it as `<name>.partial/model`, where every
 * file in turn appears only when it is whole, and survives a crash at any point: `<name>.partial/.ream` holds the lock, the
 * fingerprint and the journal of the run.
 */
export class OutputFolder {
  private finished = false;

  private constructor(
    /** The final folder. */
    readonly target: string,
    /** The folder beside it in which it is built. */
    readonly partial: string,
    /** Identity of the work that makes it. */
    readonly fingerprint: string,
    private readonly log: Journal,
    private readonly unlock: () => Promise<void>,
  ) {}

  /**
   * Starts an output or goes on with one. Throws `OUTPUT_EXISTS`, `OUTPUT_IN_SOURCE`, `OUTPUT_BUSY` (another process writes
   * it), `RESUME_MISMATCH` (an unfinished output of other work is there), `OUTPUT_WRITE`.
   */
  static async create(target: string, options: OutputOptions): Promise<OutputFolder> {
    const path = resolve(target);
    const partial = `${path}.partial`;
    const state = join(partial, STATE);
    try {
      await refuseExisting(path).catch(async (error: unknown) => {
        await clearFinished(path);
        throw error;
      });
      if (options.source !== undefined) await refuseInside(options.source, [path, partial]);
      await refuseForeign(partial);
      await mkdir(state, { recursive: true });
      const unlock = await takeLock(state);
      try {
        // Another process may have finished it while this one waited for the lock.
        await refuseExisting(path);
        if (options.restart === true) await empty(partial);
        await matchFingerprint(partial, options.fingerprint);
        await rm(join(state, "new"), { recursive: true, force: true });
        await mkdir(join(state, "new"));
        await mkdir(join(partial, CONTENT), { recursive: true });
        const journal = await Journal.open(join(state, "journal.jsonl"));
        // What is flushed into the new folders and files counts only if their names are on the disk too.
        for (const folder of [state, partial, dirname(partial)]) await syncFolder(folder);
        return new OutputFolder(path, partial, options.fingerprint, journal, unlock);
      } catch (error) {
        await unlock();
        throw error;
      }
    } catch (error) {
      // Another process that finished it in this moment has taken its folder away: that is the reason to tell.
      await refuseExisting(path);
      throw writeError(error, partial);
    }
  }

  /** The folder that becomes the output. */
  get content(): string {
    return join(this.partial, CONTENT);
  }

  /** What earlier runs and this one have recorded. */
  get journal(): readonly JournalEntry[] {
    return this.log.entries;
  }

  /** Records a step; it is on the disk when this returns. */
  async append(entry: JournalEntry): Promise<void> {
    await this.guard(STATE, () => this.log.append(entry));
  }

  /** Whether a file is there. What is there is whole. */
  async has(name: string): Promise<boolean> {
    return stat(this.path(name)).then(
      (stats) => stats.isFile(),
      () => false,
    );
  }

  /**
   * Streams tensors into a safetensors file. They are asked for their data one after the other, in the file's order.
   *
   * @param onWritten called when all are written and the file is not there yet under its name
   */
  async writeShard(
    name: string,
    tensors: readonly ShardTensor[],
    metadata: Readonly<Record<string, string>> = { format: "pt" },
    onWritten?: () => Promise<void>,
  ): Promise<void> {
    await this.write(name, async (handle) => {
      await writeTensors(handle, tensors, metadata);
      await onWritten?.();
    });
  }

  async writeFile(name: string, content: Uint8Array | string): Promise<void> {
    await this.write(name, (handle) => writeFully(handle, Buffer.from(content)));
  }

  /** Copies a file of the source; a link is followed. */
  async copyFile(from: string, name: string): Promise<void> {
    await this.write(name, async (handle) => {
      const source = await open(from, "r").catch((error: unknown) => {
        throw fileError(error, from);
      });
      try {
        for await (const chunk of source.createReadStream({ autoClose: false }))
          await writeFully(handle, chunk as Buffer);
      } finally {
        await source.close();
      }
    });
  }

  /** Gives the finished folder its name. Nothing can be written afterwards. */
  async finish(): Promise<void> {
    await this.guard("", async () => {
      await syncFolder(this.content);
      await refuseExisting(this.target);
      await rmdir(this.target).catch(() => undefined);
      await rename(this.content, this.target);
      this.finished = true;
      await syncFolder(dirname(this.target));
      await this.log.close();
      // The output is whole: what cannot be removed now, because another process begins there, the next run clears.
      await rm(this.partial, { recursive: true, force: true }).catch(() => undefined);
    });
  }

  /** Releases the lock. An unfinished output stays as it is, to be gone on with. */
  async close(): Promise<void> {
    if (this.finished) return;
    this.finished = true;
    await this.log.close();
    await this.unlock();
  }

  private path(name: string): string {
    return join(this.content, checkFileName(name, this.target));
  }

  private async write(name: string, write: Parameters<typeof writeDurably>[2]): Promise<void> {
    const path = this.path(name);
    const temporary = join(this.partial, STATE, "new", name.replaceAll("/", "%"));
    await this.guard(name, () => writeDurably(path, temporary, write));
  }

  private async guard(name: string, action: () => Promise<void>): Promise<void> {
    if (this.finished) throw new Error(`${this.target} is written after it was finished or closed`);
    try {
      await action();
    } catch (error) {
      throw writeError(error, join(this.content, name));
    }
  }
}

/** Text of model.safetensors.index.json as transformers writes it: sorted keys, indented by 2. */
export function buildIndex(tensors: Iterable<TensorLayout & { readonly file: string }>): string {
  const sorted = [...tensors].sort((a, b) => (a.name < b.name ? -1 : 1));
  const total = sorted.reduce((sum, tensor) => sum + tensorBytes(tensor), 0);
  const lines = sorted.map(({ name, file }) => `    ${JSON.stringify(name)}: ${JSON.stringify(file)}`);
  const map = lines.length === 0 ? "{}" : `{\n${lines.join(",\n")}\n  }`;
  return `{\n  "metadata": {\n    "total_size": ${total}\n  },\n  "weight_map": ${map}\n}\n`;
}
