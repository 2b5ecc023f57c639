import { link, readFile, rename, rm, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { ReamError } from "../errors.js";

/** Who holds a lock. A process is known by its number, the time it started, and the boot of its machine. */
interface Holder {
  readonly host: string;
  readonly boot: string;
  readonly pid: number;
  readonly started: string;
}

/**
 * Takes the lock file at `path`, whose folder exists, for this process; returns what releases it. Held by a live process:
 * `OUTPUT_BUSY`. A lock whose process has died is taken over.
 */
export async function takeLock(path: string): Promise<() => Promise<void>> {
  const mine = JSON.stringify(await describeProcess(process.pid));
  const own = `${path}.${process.pid}`;
  await writeFile(own, mine, { flush: true });
  try {
    // Each round follows on a lock that vanished or was dead; another process may be doing the same.
    for (let round = 0; round < 10; round++) {
      if (await tryLink(own, path)) return () => rm(path, { force: true });
      const theirs = await readFile(path, "utf8").catch(() => undefined);
      if (theirs === undefined) continue;
      const holder = parseHolder(theirs);
      if (holder !== undefined && (await isAlive(holder))) throw busy(path, holder);
      // Renamed first: of several that found it dead, one gets it. What that was is looked at again, for by now it may be
      // the new lock of a live process, which must have it back.
      const taken = `${own}.dead`;
      if (
        !(await rename(path, taken).then(
          () => true,
          () => false,
        ))
      )
        continue;
      if ((await readFile(taken, "utf8")) !== theirs) await tryLink(taken, path);
      await rm(taken, { force: true });
    }
    throw busy(path, undefined);
  } finally {
    await rm(own, { force: true });
  }
}

/** A hard link appears at once with its content, and never replaces a file. */
async function tryLink(from: string, to: string): Promise<boolean> {
  try {
    await link(from, to);
    return true;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "EEXIST") return false;
    // File systems without hard links: creating exclusively does, only that a crash may leave an empty lock.
    if (code !== "EPERM" && code !== "ENOTSUP" && code !== "EOPNOTSUPP" && code !== "ENOSYS") throw error;
    return writeFile(to, await readFile(from), { flag: "wx", flush: true }).then(
      () => true,
      (failure: NodeJS.ErrnoException) => {
        if (failure.code === "EEXIST") return false;
        throw failure;
      },
    );
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
  return holder.started === "" || holder.started === here.started;
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

function busy(path: string, holder: Holder | undefined): ReamError {
  const who = holder === undefined ? "another process" : `process ${holder.pid} on ${holder.host}`;
  return new ReamError("OUTPUT_BUSY", `${who} is writing this output`, {
    where: path,
    hint: "Wait for it, or choose another folder. If that process no longer exists, delete the file.",
  });
}
