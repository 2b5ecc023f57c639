import { stat } from "node:fs/promises";
import { join } from "node:path";
import type { Unit } from "../../observe/cuts.js";
import { attemptsIn } from "../attempt.js";
import { type JobResult, jobFolder, readResult } from "../job-folder.js";
import { ensureQueueId, readQueueId } from "../queue/names.js";

/**
 * Where the machines that work at a study or an observation find what the others have made. Every machine works in a folder;
 * either all have the same, or what is whole passes through an object store.
 */
export interface Store {
  /** The folder of this machine. */
  readonly folder: string;
  /** s3://bucket/prefix; undefined where all machines see the folder. */
  readonly url: string | undefined;

  /**
   * The result of a job that is done; undefined where it is not. Its files are in the folder then, and others can have
   * them. Errors: JOB_DAMAGED.
   */
  job(id: string): Promise<JobResult | undefined>;
  /** Whether others can have a job's files. */
  isDone(id: string): Promise<boolean>;
  /** Shows others that a job is being worked at, until the function that is returned is called. */
  showLife(id: string): () => void;
  /** Changes as long as somebody works at a job. Only compared with itself: the clocks of machines differ. */
  signOfLife(id: string): Promise<string>;

  /** The id of the queue that belongs to what is common; undefined where it has none. */
  queueId(): Promise<string | undefined>;
  /** The same; makes one where there is none. It stays: a study that was interrupted finds its jobs again. */
  ensureQueueId(): Promise<string>;

  /**
   * Tells others which observation this machine has begun in its folder (observe/partial.ts).
   * @param anew forget what there is of it
   */
  offerObservation(anew: boolean): Promise<void>;
  /** Observes a unit of that observation in a folder, unless it is done, so that who began it can have its files. */
  observeUnit(unit: Unit, observe: (folder: string) => Promise<void>): Promise<void>;
  /** Has the files of a unit that was observed in the folder. */
  fetchUnit(unit: Unit): Promise<void>;

  close(): void;
}

/** A folder that all machines see: what one writes there, the others have. */
export class SharedFolder implements Store {
  readonly url = undefined;

  constructor(readonly folder: string) {}

  job(id: string): Promise<JobResult | undefined> {
    return readResult(this.folder, id);
  }

  async isDone(id: string): Promise<boolean> {
    return (await this.job(id)) !== undefined;
  }

  /** Attempts show it themselves. */
  showLife(): () => void {
    return () => undefined;
  }

  async signOfLife(id: string): Promise<string> {
    const folder = jobFolder(this.folder, id);
    const signs: string[] = [];
    for (const name of await attemptsIn(folder)) {
      const found = await stat(join(folder, name)).catch(() => undefined);
      signs.push(`${name} ${found?.mtimeMs}`);
    }
    return signs.join();
  }

  queueId(): Promise<string | undefined> {
    return readQueueId(this.folder);
  }

  ensureQueueId(): Promise<string> {
    return ensureQueueId(this.folder);
  }

  async offerObservation(): Promise<void> {}

  observeUnit(_: Unit, observe: (folder: string) => Promise<void>): Promise<void> {
    return observe(this.folder);
  }

  async fetchUnit(): Promise<void> {}

  close(): void {}
}

/** What machines have in common. @param url s3://bucket/prefix; undefined: the folder. Errors: STORE_URL. */
export async function openStore(url: string | undefined, folder: string, signal?: AbortSignal): Promise<Store> {
  if (url === undefined) return new SharedFolder(folder);
  // Loading what talks to S3 takes longer than all else.
  const { S3Store } = await import("./s3-store.js");
  return S3Store.open(url, folder, { signal });
}
