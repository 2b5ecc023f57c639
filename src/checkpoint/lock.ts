import { randomUUID } from "node:crypto";
import { link, readdir, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import { ReamError } from "../errors.js";

/** Who holds a lock. A process is known by its number, the time it started, and the boot of its machine. */
interface Holder {
  readonly host: string;
  readonly boot: string;
  readonly pid: number;
  readonly started: string;
}

const PREFIX = "lock.";

/**
 * Takes the lock of `folder` for this process; returns what releases it. Held by a live process: `OUTPUT_BUSY`. A lock
 * whose process has died is taken over.
 *
 * Locks are files with growing numbers, of which the highest counts. Whoever finds it dead or released creates the next
 * number, which only one can; nobody ever deletes or replaces the lock of another that might be alive.
 */
export async function takeLock(folder: string): Promise<() => Promise<void>> {
  const own = join(folder, `new-lock-${randomUUID()}`);
  await writeFile(own, JSON.stringify(await describeProcess(process.pid)), { flush: true });
  try {
    for (;;) {
      const last = Math.max(-1, ...(await lockNumbers(folder)));
      if (last >= 0) await refuseLive(join(folder, PREFIX + last));
      const path = join(folder, PREFIX + (last + 1));
      if (!(await createExclusively(own, path))) continue;
      // Locks below the highest are deleted, so that this number may have been free although a higher one was taken.
      const numbers = await lockNumbers(folder);
      if (Math.max(...numbers) === last + 1) {
        for (const number of numbers) if (number <= last) await rm(join(folder, PREFIX + number), { force: true });
        return () => release(path);
      }
      await rm(path, { force: true });
    }
  } finally {
    await rm(own, { force: true });
  }
}

async function lockNumbers(folder: string): Promise<number[]> {
  const names = (await readdir(folder)).filter((name) => /^lock\.\d{1,9}$/.test(name));
  return names.map((name) => Number(name.slice(PREFIX.length)));
}

async function refuseLive(path: string): Promise<void> {
  // A lock that is gone by now gave way to a higher one, which the next look finds.
  const holder = parseHolder(await readFile(path, "utf8").catch(() => ""));
  if (holder === undefined || !(await isAlive(holder))) return;
  throw new ReamError("OUTPUT_BUSY", `process ${holder.pid} on ${holder.host} is writing this output`, {
    where: path,
    hint: "Wait for it, or choose another folder. If that process no longer exists, delete the file.",
  });
}

/** Empties the lock, by which it is dead. Its number stays taken. */
async function release(path: string): Promise<void> {
  // The folder may be gone: then so is the lock.
  await truncate(path).catch(() => undefined);
}

/** Creates a file with the content of another, unless it exists. A hard link appears at once with its content. */
async function createExclusively(from: string, to: string): Promise<boolean> {
  try {
    try {
      await link(from, to);
    } catch (error) {
      // File systems without hard links.
      const { code } = error as NodeJS.ErrnoException;
      if (code !== "EPERM" && code !== "ENOTSUP" && code !== "EOPNOTSUPP" && code !== "ENOSYS") throw error;
      await writeFile(to, await readFile(from), { flag: "wx", flush: true });
    }
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
    throw error;
  }
}

async function describeProcess(pid: number): Promise<Holder> {
  const boot = await readFile("/proc/sys/kernel/random/boot_id", "utf8").catch(() => "");
  return { host: hostname(), boot: boot.trim(), pid, started: (await startTime(pid)) ?? "" };
}

/** Start of a process in clock ticks since boot; undefined where the system does not tell. */
async function startTime(pid: number): Promise<string | undefined> {
  const stat = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => undefined);
  // Field 22 (proc_pid_stat(5)), counted behind the name in parentheses, which may hold spaces.
  return stat?.slice(stat.lastIndexOf(")") + 2).split(" ")[19];
}

async function isAlive(holder: Holder): Promise<boolean> {
  const here = await describeProcess(holder.pid);
  // Processes of another machine cannot be seen from here.
  if (holder.host !== here.host) return true;
  if (holder.boot !== here.boot) return false;
  try {
    process.kill(holder.pid, 0);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ESRCH") return false;
  }
  // Where the start cannot be seen, on either side, the process that has the number is taken for the holder.
  return holder.started === "" || here.started === "" || holder.started === here.started;
}

function parseHolder(text: string): Holder | undefined {
  try {
    const { host, boot, pid, started } = JSON.parse(text);
    const whole = typeof host === "string" && typeof boot === "string" && typeof started === "string";
    return whole && Number.isSafeInteger(pid) && pid > 0 ? { host, boot, pid, started } : undefined;
  } catch {
    return undefined;
  }
}
