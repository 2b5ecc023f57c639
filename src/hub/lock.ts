import { randomUUID } from "node:crypto";
import { link, mkdir, open, readFile, rename, rm, stat, utimes } from "node:fs/promises";
import { hostname } from "node:os";
import { dirname } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

const HEARTBEAT_MS = 5_000;
/** A lock whose holder has not been heard of for this long is taken over. */
const STALE_MS = 60_000;
const POLL_MS = 200;

function alive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}

/** Whether the holder of a lock has died: its process is gone from this machine, or its heartbeat has stopped. */
async function isStale(path: string, content: string): Promise<boolean> {
  const information = await stat(path).catch(() => undefined);
  if (information === undefined) return false;
  const [host, pid] = content.split(" ");
  if (host === hostname() && /^\d+$/.test(pid ?? "") && !alive(Number(pid))) return true;
  return Date.now() - information.mtimeMs > STALE_MS;
}

/** Moves a stale lock away. If another process was faster and the lock is a new one by now, it is put back. */
async function takeAway(path: string, content: string): Promise<void> {
  const moved = `${path}.${randomUUID()}`;
  try {
    await rename(path, moved);
    if ((await readFile(moved, "utf8")) !== content) await link(moved, path);
  } catch {
    // Gone already, or locked again: the next attempt sees what is there.
  } finally {
    await rm(moved, { force: true });
  }
}

async function tryCreate(path: string, content: string): Promise<boolean> {
  try {
    const handle = await open(path, "wx");
    await handle.writeFile(content).finally(() => handle.close());
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
    throw error;
  }
}

/**
 * Runs `work` while holding a lock file, so that one process at a time does it, also on file systems without advisory
 * locks. Waits for another holder; takes over from one that has died. `onWait` is called once if there is a wait.
 */
export async function withLock<T>(
  path: string,
  work: () => Promise<T>,
  onWait: () => void,
  signal?: AbortSignal,
): Promise<T> {
  await mkdir(dirname(path), { recursive: true });
  const own = `${hostname().replaceAll(" ", "-")} ${process.pid} ${randomUUID()}`;
  for (let waited = false; !(await tryCreate(path, own)); ) {
    if (!waited) onWait();
    waited = true;
    const content = await readFile(path, "utf8").catch(() => undefined);
    if (content !== undefined && (await isStale(path, content))) await takeAway(path, content);
    else await sleep(POLL_MS, undefined, signal === undefined ? {} : { signal });
  }
  const beat = setInterval(() => utimes(path, new Date(), new Date()).catch(() => {}), HEARTBEAT_MS);
  beat.unref();
  try {
    return await work();
  } finally {
    clearInterval(beat);
    if ((await readFile(path, "utf8").catch(() => "")) === own) await rm(path, { force: true });
  }
}
