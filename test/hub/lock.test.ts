import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, expect, test } from "vitest";
import { withLock } from "../../src/hub/lock.js";

const root = mkdtempSync(join(tmpdir(), "ream-test-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));
let count = 0;
const fresh = () => join(root, "locks", `${count++}.lock`);

test("work is done by one at a time, in spite of failures", async () => {
  const path = fresh();
  let inside = 0;
  let waits = 0;
  const work = async (fails: boolean) => {
    expect(++inside).toBe(1);
    await sleep(5);
    inside -= 1;
    if (fails) throw new Error("failed");
  };
  const all = Array.from({ length: 6 }, (_, i) =>
    withLock(
      path,
      () => work(i % 2 === 1),
      () => waits++,
    ),
  );
  const results = await Promise.allSettled(all);
  expect(results.filter(({ status }) => status === "rejected")).toHaveLength(3);
  expect(waits).toBe(5);
  expect(existsSync(path)).toBe(false);
});

test("a lock of a process that has died is taken over", async () => {
  const path = fresh();
  await withLock(
    path,
    async () => {},
    () => {},
  );
  const dead = spawnSync(process.execPath, ["-e", ""]).pid;
  writeFileSync(path, `${hostname()} ${dead} x`);
  expect(
    await withLock(
      path,
      async () => "done",
      () => {},
    ),
  ).toBe("done");
});

test("a lock of another machine is taken over when its heartbeat has stopped", async () => {
  const path = fresh();
  await withLock(
    path,
    async () => {},
    () => {},
  );
  writeFileSync(path, "elsewhere 1 x");
  utimesSync(path, new Date(Date.now() - 120_000), new Date(Date.now() - 120_000));
  expect(
    await withLock(
      path,
      async () => "done",
      () => {},
    ),
  ).toBe("done");
});

test("a living lock is waited for until the caller gives up", async () => {
  const path = fresh();
  const controller = new AbortController();
  await withLock(
    path,
    async () => {
      const second = withLock(
        path,
        async () => "never",
        () => controller.abort(),
        controller.signal,
      );
      await expect(second).rejects.toMatchObject({ name: "AbortError" });
    },
    () => {},
  );
});
