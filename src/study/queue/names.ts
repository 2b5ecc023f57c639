import { randomUUID } from "node:crypto";
import { mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { writeJsonFile } from "../../checkpoint/durable.js";
import { VERSION } from "../../version.js";

/** A file of the folder that all machines share: whoever sees it with a queue's id sees the queue's folder. */
const FILE = "queue.json";

/** Hash of all queues by id, with the folder or the store of each. Versions do not mix: their numbers may differ. */
export const REGISTRY = `ream:${VERSION}:queues`;

/** The name of a queue in Redis. */
export function queueName(id: string): string {
  return `ream-${VERSION}-${id}`;
}

/** The id of the queue of a folder; undefined where it has none, or is not to be seen from here. */
export async function readQueueId(folder: string): Promise<string | undefined> {
  const text = await readFile(join(folder, FILE), "utf8").catch(() => undefined);
  if (text === undefined) return undefined;
  const { queue } = JSON.parse(text);
  return typeof queue === "string" ? queue : undefined;
}

/** The id of a folder's queue, which stays the same: a study that was interrupted finds its jobs again. */
export async function ensureQueueId(folder: string): Promise<string> {
  const known = await readQueueId(folder);
  if (known !== undefined) return known;
  const queue = randomUUID();
  await mkdir(folder, { recursive: true });
  await writeJsonFile(join(folder, FILE), { queue });
  return queue;
}
