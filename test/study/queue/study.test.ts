import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { type Program, REDIS_MISSING, RedisServer, ream, until } from "./processes.js";
import { jobFiles, publishedFiles, resultsOf, writeStudy } from "./small-study.js";

describe.skipIf(REDIS_MISSING)("a study on several machines", () => {
  const folder = mkdtempSync(join(tmpdir(), "ream-queue-"));
  const study = writeStudy(folder);
  const local = join(folder, "local");
  const programs: Program[] = [];
  let server: RedisServer;

  const start = (...args: readonly string[]) => {
    const program = ream(...args);
    programs.push(program);
    return program;
  };
  const worker = (...args: readonly string[]) => start("worker", "--queue", server.url, "--lock-seconds", "2", ...args);
  const began = /Began: (reap|frequency)/;

  beforeAll(async () => {
    server = await RedisServer.start(join(folder, "redis"));
    expect(await start("study", study, "--out", local).ended).toBe(0);
  });

  afterEach(() => {
    for (const program of programs.splice(0)) program.kill("SIGKILL");
  });

  afterAll(async () => {
    await server.kill();
    rmSync(folder, { recursive: true, force: true });
  });

  test("comes to the same results as on one, although workers die, stop and come, and the server is killed", async () => {
    const out = join(folder, "hard");
    const [first, second, third] = [worker(), worker(), worker()];
    const driver = start("study", study, "--out", out, "--queue", server.url);
    await first!.shows(began);
    first!.kill("SIGKILL");
    await second!.shows(began);
    second!.kill("SIGTERM");
    expect(await second!.ended).toBe(0);
    worker();
    // It has begun another, which it ends without the server.
    await third!.shows(/Done: (reap|frequency).*\n(.*\n)*.*Began: /);
    await server.kill();
    await third!.shows(/(Done|Failed): .*\n(.*\n)*.*(Done|Failed): /);
    await server.restart();
    worker();
    expect(await driver.ended, driver.output).toBe(0);
    expect(resultsOf(out), driver.output).toEqual(resultsOf(local));
    // The same files for every job: none twice or half, and failures are noted beside a log.
    const files = jobFiles(out);
    expect(publishedFiles(out)).toEqual(publishedFiles(local));
    for (const names of Object.values(files))
      expect(names.includes("result.json") && names.some((name) => /attempt|vain/.test(name))).toBe(false);
    const failed = Object.values(files).filter((names) => names.includes("failure.json"));
    expect(failed).toHaveLength(3);
    for (const names of failed) expect(names).toContain("log.jsonl");
    expect(driver.output).toMatch(/failed: wrong 48 math=1: OBSERVATION_STATISTICS: .*log\.jsonl/);
  });

  test("gives the job of a worker that is not heard of to another; the first result counts", async () => {
    const out = join(folder, "silent");
    const short = writeStudy(folder, { title: "Short", methods: ["reap"] });
    const silent = worker();
    const driver = start("study", short, "--out", out, "--queue", server.url);
    await silent.shows(/Began: original/);
    // Its child goes on, and writes the result all the same.
    silent.kill("SIGSTOP");
    const other = worker();
    await other.shows(/Done: original/);
    silent.kill("SIGCONT");
    expect(await driver.ended, driver.output).toBe(0);
    expect(resultsOf(out).rows).toEqual(resultsOf(local).rows.filter(({ method }) => method === "reap"));
    for (const names of Object.values(jobFiles(out)))
      expect(names.filter((name) => /attempt|vain/.test(name))).toEqual([]);
    await until(() => /(Done|Done by another): original/.test(silent.output), silent.output);
    silent.kill("SIGTERM");
    other.kill("SIGTERM");
    expect(await Promise.all([silent.ended, other.ended])).toEqual([0, 0]);
  });

  test("leaves nothing on the server, and needs none for shares", async () => {
    const out = join(folder, "shares");
    const two = writeStudy(folder, { title: "Two", methods: ["reap", "frequency"] });
    const shares = [0, 1, 2].map((index) =>
      start("worker", "--study", two, "--out", out, "--index", String(index), "--of", "3"),
    );
    expect(await Promise.all(shares.map(({ ended }) => ended))).toEqual([0, 0, 0]);
    const collect = start("study", two, "--out", out);
    expect(await collect.ended).toBe(0);
    expect(resultsOf(out).rows).toEqual(resultsOf(local).rows);
    // The studies before are over.
    const idle = worker();
    await new Promise((resolve) => setTimeout(resolve, 2000));
    expect(idle.output).toBe("");
  });
});
