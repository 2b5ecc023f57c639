import { Queue } from "bullmq";
import type { Redis } from "ioredis";
import type { JobEvent } from "../execute-job.js";
import type { JobFailure } from "../job-queue.js";
import type { Store } from "../store/store.js";
import { queueName, REGISTRY } from "./names.js";
import { decodeError, type Order } from "./order.js";
import { connect } from "./redis.js";
import { atMost } from "./wait.js";

/** Tries at an order, and milliseconds before the second; each further wait is twice as long. */
const TRIES = 3;
const WAIT = 1000;
/** Milliseconds that a server which is down is waited for at the end. */
const FAREWELL = 3000;

export type OrderState =
  | { readonly state: "waiting" | "done" }
  | { readonly state: "active"; readonly event: JobEvent | undefined }
  | { readonly state: "failed"; readonly error: JobFailure["error"] };

/** Where orders are put up for workers: the queue of one folder or store, as who has put them there sees it. */
export class Board {
  private readonly orders = new Map<string, Order>();

  private constructor(
    private readonly redis: Redis,
    private readonly queue: Queue,
    private readonly id: string,
    readonly store: Store,
  ) {}

  /** Errors: QUEUE_URL, QUEUE_UNREACHABLE, and those of the store. */
  static async open(url: string, store: Store): Promise<Board> {
    const redis = await connect(url);
    const id = await store.ensureQueueId().catch((error) => {
      redis.disconnect();
      throw error;
    });
    const queue = new Queue(queueName(id), { connection: redis });
    // Connections come back by themselves; without a listener an error would end the program.
    queue.on("error", () => undefined);
    return new Board(redis, queue, id, store);
  }

  /** Puts up an order. One that waits or is worked at since an earlier run stays as it is, one that ended begins anew. */
  async put(id: string, order: Order): Promise<void> {
    this.orders.set(id, order);
    await this.register();
    const state = await this.queue.getJobState(keyOf(id));
    if (state === "completed" || state === "failed") await this.queue.remove(keyOf(id));
    else if (state !== "unknown") return;
    await this.add(id, order);
  }

  async look(id: string): Promise<OrderState> {
    const state = await this.queue.getJobState(keyOf(id));
    switch (state) {
      case "completed":
        return { state: "done" };
      case "failed": {
        const job = await this.queue.getJob(keyOf(id));
        return { state: "failed", error: decodeError(job?.failedReason ?? "") };
      }
      case "active": {
        const job = await this.queue.getJob(keyOf(id));
        const progress = job?.progress;
        const told = typeof progress === "object" && "event" in progress;
        return { state: "active", event: told ? (progress.event as JobEvent) : undefined };
      }
      case "unknown":
        // The server came back without what it knew.
        await this.register();
        await this.add(id, this.orders.get(id)!);
        return { state: "waiting" };
      default:
        return { state: "waiting" };
    }
  }

  /** Takes back an order that nobody works at. */
  async withdraw(id: string): Promise<boolean> {
    if ((await this.queue.getJobState(keyOf(id))) === "active") return false;
    return (await this.queue.remove(keyOf(id))) === 1;
  }

  /** @param finished whether nothing is wanted any more; otherwise what is being worked at goes on, and nothing else */
  async close(finished: boolean): Promise<void> {
    const farewell = async () => {
      if (finished) {
        await this.redis.hdel(REGISTRY, this.id);
        await this.queue.obliterate({ force: true });
      } else {
        await this.queue.drain(true);
      }
    };
    const closing = farewell()
      .then(() => this.queue.close())
      .catch(() => undefined);
    await atMost(FAREWELL, closing);
    this.redis.disconnect();
  }

  private async register(): Promise<void> {
    await this.redis.hset(REGISTRY, this.id, this.store.url ?? this.store.folder);
  }

  private async add(id: string, order: Order): Promise<void> {
    await this.queue.add("order", order, {
      jobId: keyOf(id),
      attempts: TRIES,
      backoff: { type: "exponential", delay: WAIT },
    });
  }
}

/** The queue takes no numbers for keys, and a digest may look like one. */
function keyOf(id: string): string {
  return `order-${id}`;
}
