import { type FileHandle, open, readFile } from "node:fs/promises";
import { ReamError } from "../errors.js";
import { writeFully } from "./durable.js";
import type { JsonObject } from "./json.js";

/** What one step of a run has done, for a later run to go on from. */
export type JournalEntry = JsonObject;

/** A file of JSON lines that only grows. A line counts once it has reached the disk with its line break. */
export class Journal {
  private last: Promise<void> = Promise.resolve();

  private constructor(
    private readonly handle: FileHandle,
    readonly entries: JournalEntry[],
    /** Bytes of the whole lines. */
    private size: number,
  ) {}

  /** Opens or creates a journal. What follows the last whole line, torn by a crash, is cut off. */
  static async open(path: string): Promise<Journal> {
    const bytes = await readFile(path).catch((error: NodeJS.ErrnoException) => {
      if (error.code === "ENOENT") return Buffer.alloc(0);
      throw error;
    });
    const whole = bytes.subarray(0, bytes.lastIndexOf(0x0a) + 1);
    const lines = whole.toString("utf8").split("\n").slice(0, -1);
    const entries = lines.map((line, index) => parseLine(line, `${path}, line ${index + 1}`));
    const handle = await open(path, "a");
    if (whole.length < bytes.length) await handle.truncate(whole.length);
    return new Journal(handle, entries, whole.length);
  }

  /**
   * Returns when the entry is on the disk; `buffered`: when the system has it, which outlives the process. Entries come one
   * after the other, in the order in which they were given.
   */
  append(entry: JournalEntry, how: "durable" | "buffered" = "durable"): Promise<void> {
    const appended = this.last.then(() => this.write(entry, how));
    this.last = appended.catch(() => undefined);
    return appended;
  }

  private async write(entry: JournalEntry, how: "durable" | "buffered"): Promise<void> {
    const line = Buffer.from(`${JSON.stringify(entry)}\n`);
    try {
      await writeFully(this.handle, line);
      if (how === "durable") await this.handle.sync();
    } catch (error) {
      // The next line must not follow on the beginning of this one; if that cannot be had, there is to be none.
      await this.handle.truncate(this.size).catch(() => this.handle.close());
      throw error;
    }
    this.size += line.length;
    this.entries.push(entry);
  }

  /** Returns when all entries are on the disk. */
  async flush(): Promise<void> {
    await this.handle.sync();
  }

  async close(): Promise<void> {
    await this.handle.close();
  }
}

function parseLine(line: string, where: string): JournalEntry {
  try {
    return JSON.parse(line) as JournalEntry;
  } catch (cause) {
    throw new ReamError("JOURNAL_DAMAGED", "a line of the journal is not JSON", {
      where,
      hint: "Start anew with --restart.",
      cause,
    });
  }
}
