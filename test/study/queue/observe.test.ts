import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { filesOf, observationFlags } from "./observation-files.js";
import { type Program, REDIS_MISSING, RedisServer, ream } from "./processes.js";
import { MODEL } from "./small-study.js";

const folder = mkdtempSync(join(tmpdir(), "ream-observe-queue-"));
const programs: Program[] = [];
afterAll(() => {
  for (const program of programs) program.kill("SIGKILL");
  rmSync(folder, { recursive: true, force: true });
});

test.skipIf(REDIS_MISSING)("units that several workers observe are those of one, to the last bit", async () => {
  const server = await RedisServer.start(join(folder, "redis"));
  const start = (...args: readonly string[]) => {
    const program = ream(...args);
    programs.push(program);
    return program;
  };
  try {
    const options = observationFlags("general=0.5,math=0.5", "general=1");
    const observe = (out: string, ...more: readonly string[]) =>
      start("observe", MODEL, "--out", join(folder, out), ...options, "--mix", "math=1", ...more);
    const worker = () => start("worker", "--queue", server.url, "--lock-seconds", "2");
    expect(await observe("alone").ended).toBe(0);
    const [first] = [worker(), worker()];
    const driver = observe("split", "--queue", server.url);
    await first!.shows(/Began: /);
    first!.kill("SIGKILL");
    worker();
    expect(await driver.ended, driver.output).toBe(0);
    const alone = filesOf(join(folder, "alone"));
    expect(alone.size).toBeGreaterThan(8);
    expect(filesOf(join(folder, "split"))).toEqual(alone);
  } finally {
    await server.kill();
  }
});
