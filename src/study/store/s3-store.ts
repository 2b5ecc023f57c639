import { randomUUID } from "node:crypto";
import { mkdir } from "node:fs/promises";
import { z } from "zod";
import type { Unit } from "../../observe/cuts.js";
import { Attempt, FETCH } from "../attempt.js";
import { type JobResult, jobFolder, readResult } from "../job-folder.js";
import { oneAtATime } from "../queue/wait.js";
import { parseStoreAddress } from "./address.js";
import { type BundleIndex, fetchBundle, putBundle, readIndex } from "./bundle.js";
import { jobFiles } from "./job-files.js";
import { Objects, type ObjectsOptions } from "./objects.js";
import type { Store } from "./store.js";
import { Units } from "./units.js";

const QUEUE = "queue.json";
const queueSchema = z.object({ queue: z.string() });
/** Milliseconds between two looks for the queue's id: workers ask all the time. */
const LOOK = 5000;
/** Milliseconds between two signs of life. */
const HEARTBEAT = 60_000;

const jobName = (id: string) => `jobs/${id}`;
const lifeKey = (id: string) => `jobs/${id}/alive`;

/**
 * An S3-compatible store: every machine has a folder of its own, and what is whole goes up as a bundle (bundle.ts). Keys,
 * endpoint and region come from the customary variables. Errors of all functions: STORE_UNREACHABLE, STORE_REFUSED,
 * STORE_DAMAGED.
 */
export class S3Store implements Store {
  private readonly units: Units;
  /** Jobs whose files are here and there. */
  private readonly settled = new Set<string>();
  private look: { readonly at: number; readonly id: Promise<string | undefined> } | undefined;

  private constructor(
    private readonly objects: Objects,
    readonly folder: string,
  ) {
    this.units = new Units(objects, folder);
  }

  /** Asks the store nothing yet. Errors: STORE_URL. */
  static open(url: string, folder: string, options: ObjectsOptions = {}): S3Store {
    return new S3Store(new Objects(parseStoreAddress(url), options), folder);
  }

  get url(): string {
    return this.objects.address.url;
  }

  async job(id: string): Promise<JobResult | undefined> {
    const here = await readResult(this.folder, id);
    if (here !== undefined && this.settled.has(id)) return here;
    const there = await readIndex(this.objects, jobName(id));
    if (there !== undefined && here === undefined) await this.fetch(id, there);
    if (there === undefined && here !== undefined) {
      const folder = jobFolder(this.folder, id);
      await putBundle(this.objects, jobName(id), folder, await jobFiles(folder));
    }
    if (there !== undefined || here !== undefined) this.settled.add(id);
    return here ?? (await readResult(this.folder, id));
  }

  async isDone(id: string): Promise<boolean> {
    return (await readIndex(this.objects, jobName(id))) !== undefined;
  }

  showLife(id: string): () => void {
    // Who sees no sign does the job, too, which is a waste and no error.
    const beat = oneAtATime(() => this.objects.put(lifeKey(id), randomUUID()));
    beat();
    const heart = setInterval(beat, HEARTBEAT).unref();
    return () => clearInterval(heart);
  }

  async signOfLife(id: string): Promise<string> {
    return (await this.objects.get(lifeKey(id))) ?? "";
  }

  async queueId(): Promise<string | undefined> {
    const now = performance.now();
    if (this.look === undefined || now - this.look.at > LOOK) this.look = { at: now, id: this.readQueueId() };
    return this.look.id;
  }

  async ensureQueueId(): Promise<string> {
    const known = await this.readQueueId();
    if (known !== undefined) return known;
    await this.objects.putNewJson(QUEUE, { queue: randomUUID() });
    // Another may have been faster.
    return (await this.readQueueId())!;
  }

  offerObservation(anew: boolean): Promise<void> {
    return this.units.offer(anew);
  }

  observeUnit(unit: Unit, observe: (folder: string) => Promise<void>): Promise<void> {
    return this.units.observe(unit, observe);
  }

  fetchUnit(unit: Unit): Promise<void> {
    return this.units.fetch(unit);
  }

  close(): void {
    this.objects.close();
  }

  /** Files come to a folder of their own, and are moved into place as those of an attempt at the job are, the result last. */
  private async fetch(id: string, index: BundleIndex): Promise<void> {
    const folder = jobFolder(this.folder, id);
    await mkdir(folder, { recursive: true });
    const attempt = await Attempt.begin(folder, FETCH);
    try {
      await fetchBundle(this.objects, jobName(id), index, attempt.folder);
      await attempt.publish();
    } catch (error) {
      // Another process of this machine was faster, and deleted this one.
      if ((await readResult(this.folder, id)) === undefined) throw error;
    } finally {
      await attempt.leave();
    }
  }

  private async readQueueId(): Promise<string | undefined> {
    return (await this.objects.getJson(QUEUE, queueSchema))?.queue;
  }
}
