import { randomUUID } from "node:crypto";
import { type Job, Worker } from "bullmq";
import type { Redis } from "ioredis";
import type { JobEvent } from "../execute-job.js";
import { errorOf } from "../local-queue.js";
import { SharedFolder, type Store } from "../store/store.js";
import { runInChild } from "./child.js";
import { queueName, REGISTRY } from "./names.js";
import { encodeError, type Order } from "./order.js";
import { connect } from "./redis.js";
import { atMost, oneAtATime, sleep, unlessAborted } from "./wait.js";

/** Milliseconds between two looks for work, and between two reports of progress. */
const PAUSE = 500;
const REPORT = 1000;
/** Milliseconds that a worker which stops waits for a server that is down. */
const FAREWELL = 2000;
/** How often a job may lose its worker before it counts as failed: it may be what kills them. */
const LOSSES = 10;

export interface WorkerOptions {
  readonly url: string;
  /** The folder of a study, an observation or an unfinished output as this machine sees it; without it all queues whose folders can be seen. */
  readonly folder: string | undefined;
  /** What the worker has in common with others, whose queue alone is worked at; without it folders are. */
  readonly store: Store | undefined;
  /** Seconds after which the order of a worker that is not heard of is given to another. */
  readonly lockSeconds: number;
  readonly signal: AbortSignal;
  readonly onEvent: (label: string, event: JobEvent) => void;
  readonly note: (message: string) => void;
}

export interface WorkerOutcome {
  readonly done: number;
  readonly failed: number;
}

/** Does orders one after the other until the signal comes; the one that it is at then is given back. */
export async function runWorker(options: WorkerOptions): Promise<WorkerOutcome> {
  const redis = await connect(options.url);
  const worker = new OrderTaker(redis, options);
  try {
    while (!options.signal.aborted) if (!(await worker.round())) await sleep(PAUSE, options.signal);
  } catch (error) {
    if (!options.signal.aborted) throw error;
  } finally {
    await worker.close();
    redis.disconnect();
  }
  return worker.outcome;
}

class OrderTaker {
  readonly outcome = { done: 0, failed: 0 };
  private readonly queues = new Map<string, { readonly queue: Worker; readonly store: Store }>();
  private readonly unseen = new Set<string>();

  constructor(
    private readonly redis: Redis,
    private readonly options: WorkerOptions,
  ) {}

  /** Does one order of each queue that has one; whether there was any. */
  async round(): Promise<boolean> {
    const { signal } = this.options;
    await unlessAborted(this.find(), signal);
    let worked = false;
    for (const { queue, store } of this.queues.values()) {
      const token = randomUUID();
      const job: Job<Order> | undefined = await unlessAborted(queue.getNextJob(token, { block: false }), signal);
      if (job === undefined) continue;
      worked = true;
      await this.work(job, token, store);
    }
    return worked;
  }

  async close(): Promise<void> {
    const closing = [...this.queues.values()].map(({ queue }) => queue.close(true).catch(() => undefined));
    await atMost(FAREWELL, Promise.all(closing));
  }

  /** Learns of new queues, and forgets those that are gone. */
  private async find(): Promise<void> {
    const { folder, store, note } = this.options;
    const registered = Object.entries(await this.redis.hgetall(REGISTRY));
    const found = new Map<string, Store>();
    for (const [id, place] of registered) {
      const here = store ?? new SharedFolder(folder ?? place);
      if ((await here.queueId()) === id) {
        found.set(id, here);
      } else if (store === undefined && folder === undefined && !this.unseen.has(id)) {
        this.unseen.add(id);
        const option = place.startsWith("s3:") ? "--store takes it" : "--out tells where it is";
        note(`The folder ${place} cannot be seen from here, so that its work is left to others (${option}).`);
      }
    }
    for (const [id, { queue }] of this.queues) {
      if (found.has(id)) continue;
      this.queues.delete(id);
      void queue.close(true).catch(() => undefined);
    }
    for (const [id, here] of found) {
      if (this.queues.has(id)) continue;
      this.queues.set(id, { queue: this.open(id), store: here });
      note(`Taking work of ${here.url ?? here.folder}.`);
    }
  }

  private open(id: string): Worker {
    const milliseconds = 1000 * this.options.lockSeconds;
    const queue = new Worker(queueName(id), null, {
      connection: this.redis,
      autorun: false,
      lockDuration: milliseconds,
      stalledInterval: milliseconds,
      maxStalledCount: LOSSES,
    });
    // Connections come back by themselves; without a listener an error would end the program.
    queue.on("error", () => undefined);
    void queue.startStalledCheckTimer().catch(() => undefined);
    return queue;
  }

  private async work(job: Job<Order>, token: string, store: Store): Promise<void> {
    const { onEvent, note, signal } = this.options;
    const order = job.data;
    // Another attempt may be faster, and end this one.
    const vain = new AbortController();
    const keeper = this.keep(job, token, store, vain);
    let reported = 0;
    const report = (event: JobEvent) => {
      onEvent(order.label, event);
      if (event.type === "note" || performance.now() - reported < REPORT) return;
      reported = performance.now();
      void job.updateProgress({ event }).catch(() => undefined);
    };
    const began = performance.now();
    note(`Began: ${order.label}.`);
    try {
      await runInChild(order, store, { signal: AbortSignal.any([signal, vain.signal]), onEvent: report });
      this.outcome.done += 1;
      note(`Done: ${order.label}, in ${((performance.now() - began) / 1000).toFixed(1)} s.`);
      await this.settle(job.moveToCompleted(null, token, false));
    } catch (cause) {
      if (vain.signal.aborted) {
        note(`Done by another: ${order.label}.`);
        await this.settle(job.moveToCompleted(null, token, false));
      } else if (signal.aborted) {
        note(`Given back: ${order.label}.`);
        await this.settle(job.moveToWait(token));
      } else {
        const error = errorOf(cause);
        this.outcome.failed += 1;
        note(`Failed: ${order.label}: ${error.code}: ${error.message}`);
        await this.settle(job.moveToFailed(new Error(encodeError(error)), token, false));
      }
    } finally {
      clearInterval(keeper);
    }
  }

  /** Tells the queue again and again that the order is being worked at, and looks whether that is in vain. */
  private keep(job: Job<Order>, token: string, store: Store, vain: AbortController): NodeJS.Timeout {
    const milliseconds = 1000 * this.options.lockSeconds;
    const { work } = job.data;
    const keep = oneAtATime(() => job.extendLock(token, milliseconds));
    const look = oneAtATime(async () => {
      if (work.kind === "job" && (await store.isDone(work.job.id))) vain.abort();
    });
    return setInterval(() => {
      keep();
      look();
    }, milliseconds / 3);
  }

  /**
   * Tells the queue how an order ended. Where it has given the order to another, or forgotten it, it does not listen; then
   * the result in the folder is what counts. A worker that is to stop does not wait for a server that is down.
   */
  private async settle(telling: Promise<unknown>): Promise<void> {
    const { signal, note } = this.options;
    const told = telling.then(
      () => undefined,
      (error: Error) => note(`The queue has gone on without this worker: ${error.message}`),
    );
    await unlessAborted(told, signal).catch(() => atMost(FAREWELL, told));
  }
}
