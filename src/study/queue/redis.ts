import { Redis } from "ioredis";
import { ReamError } from "../../errors.js";
import { atMost } from "./wait.js";

/** Milliseconds within which a server has to answer at first. Later it is waited for, however long it takes. */
const PATIENCE = 10_000;

/** Connects to redis[s]://[user:password@]host[:port][/db]. Errors: QUEUE_URL, QUEUE_UNREACHABLE. */
export async function connect(url: string, patience = PATIENCE): Promise<Redis> {
  const where = withoutPassword(url);
  const redis = new Redis(url, {
    lazyConnect: true,
    // Commands wait for a server that is down, and are sent when it is back.
    maxRetriesPerRequest: null,
    retryStrategy: (times) => Math.min(2000, 100 * times),
  });
  let reason = "no answer";
  redis.on("error", (error) => {
    reason = error.message || (error as NodeJS.ErrnoException).code || reason;
  });
  const ready = new Promise<true>((resolve) => redis.once("ready", () => resolve(true)));
  // The promise of connect() ends with the first try; retries go on.
  redis.connect().catch(() => undefined);
  if (await atMost(patience, ready)) return redis;
  redis.disconnect();
  throw new ReamError("QUEUE_UNREACHABLE", `the server of the queue does not answer: ${reason}`, {
    where,
    hint: "Start Redis or Valkey there, or give another address: redis://host:port/db.",
  });
}

function withoutPassword(url: string): string {
  const parsed = URL.canParse(url) ? new URL(url) : undefined;
  if (parsed === undefined || !/^rediss?:$/.test(parsed.protocol)) {
    throw new ReamError("QUEUE_URL", "that is no address of a Redis or Valkey server", {
      where: "--queue",
      hint: "As in redis://host:6379, redis://user:password@host:6379/1, rediss://host (TLS).",
    });
  }
  parsed.password = parsed.password && "***";
  return parsed.href;
}
