import { readdir, readFile, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import { setImmediate } from "node:timers/promises";
import { expect, it } from "vitest";
import { takeLock } from "../../src/checkpoint/lock.js";
import { expectCode, temporaryFolder } from "./support.js";

const boot = async () => (await readFile("/proc/sys/kernel/random/boot_id", "utf8").catch(() => "")).trim();
const hasProc = (await boot()) !== "";

it("is held by one at a time", async () => {
  const folder = await temporaryFolder();
  const unlock = await takeLock(folder);
  const error = await expectCode("OUTPUT_BUSY", () => takeLock(folder));
  expect(error.message).toContain(String(process.pid));
  await unlock();
  await (await takeLock(folder))();
  await (await takeLock(folder))();
  expect(await readdir(folder)).toEqual(["lock.2"]);
});

it("is taken over from the dead", async () => {
  const folder = await temporaryFolder();
  const here = { host: hostname(), boot: await boot() };
  const dead: unknown[] = [
    // No process has a number this high on Linux or macOS.
    { ...here, pid: 99_999_999, started: "1" },
    { ...here, pid: -1, started: "1" },
    { ...here, pid: "1", started: "1" },
    "torn",
  ];
  // A number that was given again, and another boot, can be told where /proc exists.
  if (hasProc) {
    dead.push({ ...here, pid: process.pid, started: "1" }, { ...here, boot: "other", pid: process.pid, started: "1" });
  }
  for (const [i, holder] of dead.entries()) {
    await writeFile(join(folder, `lock.${2 * i}`), JSON.stringify(holder));
    const unlock = await takeLock(folder);
    expect(await readdir(folder)).toEqual([`lock.${2 * i + 1}`]);
    expect(JSON.parse(await readFile(join(folder, `lock.${2 * i + 1}`), "utf8")).pid).toBe(process.pid);
    await unlock();
  }
});

it("is left to a process of another machine, which may live", async () => {
  const folder = await temporaryFolder();
  await writeFile(
    join(folder, "lock.0"),
    JSON.stringify({ host: "elsewhere", boot: "x", pid: 99_999_999, started: "1" }),
  );
  await expectCode("OUTPUT_BUSY", () => takeLock(folder));
});

it("goes to one of many that find it dead at the same time", async () => {
  const folder = await temporaryFolder();
  for (let round = 0; round < 20; round++) {
    const results = await Promise.allSettled(Array.from({ length: 8 }, () => takeLock(folder)));
    const taken = results.filter((result) => result.status === "fulfilled");
    expect(taken.length).toBe(1);
    await taken[0]!.value();
  }
});

it("is never held by two, whoever takes and releases it in between", async () => {
  const folder = await temporaryFolder();
  let holders = 0;
  let turns = 0;
  const contender = async (): Promise<void> => {
    for (let i = 0; i < 30; i++) {
      const unlock = await takeLock(folder).catch(() => undefined);
      if (unlock === undefined) continue;
      turns++;
      expect(++holders).toBe(1);
      await setImmediate();
      holders--;
      await unlock();
    }
  };
  await Promise.all(Array.from({ length: 6 }, contender));
  expect(turns).toBeGreaterThan(5);
});
