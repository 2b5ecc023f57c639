import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import { FakeS3 } from "../../support/fake-s3.js";
import { filesOf, observationFlags } from "./observation-files.js";
import { type Program, REDIS_MISSING, RedisServer, ream } from "./processes.js";
import { jobFiles, MODEL, publishedFiles, resultsOf, writeStudy } from "./small-study.js";

describe.skipIf(REDIS_MISSING)("machines without a common folder", () => {
  const folder = mkdtempSync(join(tmpdir(), "ream-queue-store-"));
  const wrong = { name: "wrong", method: "reap", statistics: "batch-means" };
  const study = writeStudy(folder, { methods: ["reap", wrong] });
  const local = join(folder, "local");
  const store = new FakeS3();
  const programs: Program[] = [];
  let server: RedisServer;

  const start = (...args: readonly string[]) => {
    const program = ream(...args);
    programs.push(program);
    return program;
  };
  const place = (name: string) => ["--out", join(folder, name)];
  const worker = (name: string, url: string) =>
    start("worker", "--queue", server.url, "--lock-seconds", "2", "--store", url, ...place(name));

  beforeAll(async () => {
    await store.start();
    for (const [name, value] of Object.entries(store.environment)) vi.stubEnv(name, value);
    server = await RedisServer.start(join(folder, "redis"));
    expect(await start("study", study, "--out", local).ended).toBe(0);
    // A store that fails now and then.
    let asked = 0;
    store.fault = () => (++asked % 31 === 0 ? "503" : asked % 37 === 0 ? "cut" : undefined);
  });

  afterEach(() => {
    for (const program of programs.splice(0)) program.kill("SIGKILL");
  });

  afterAll(async () => {
    await server.kill();
    await store.stop();
    vi.unstubAllEnvs();
    rmSync(folder, { recursive: true, force: true });
  });

  test("come to the results of one machine, although one of them dies", async () => {
    const url = "s3://bucket/studies/one";
    const first = worker("first", url);
    const driver = start("study", study, ...place("driver"), "--queue", server.url, "--store", url);
    await first.shows(/Began: reap/);
    first.kill("SIGKILL");
    const [second, third] = [worker("second", url), worker("third", url)];
    expect(await driver.ended, driver.output).toBe(0);
    expect(resultsOf(join(folder, "driver")), driver.output).toEqual(resultsOf(local));
    expect(publishedFiles(join(folder, "driver"))).toEqual(publishedFiles(local));
    for (const program of [second, third]) {
      program.kill("SIGTERM");
      expect(await program.ended, program.output).toBe(0);
      expect(program.output).toMatch(/Done: /);
    }
    // Another machine has everything from the store.
    const collect = start("study", study, ...place("collected"), "--store", url);
    expect(await collect.ended, collect.output).toBe(0);
    expect(resultsOf(join(folder, "collected"))).toEqual(resultsOf(join(folder, "driver")));
  }, 300_000);

  test("observe the units of an observation, to the last bit", async () => {
    const url = "s3://bucket/observed";
    const options = observationFlags("general=0.5,math=0.5", "math=1");
    expect(await start("observe", MODEL, ...place("alone"), ...options).ended).toBe(0);
    const first = worker("observer", url);
    const split = place("split");
    const driver = start("observe", MODEL, ...split, ...options, "--queue", server.url, "--store", url);
    await first.shows(/Began: /);
    first.kill("SIGKILL");
    worker("other-observer", url);
    expect(await driver.ended, driver.output).toBe(0);
    expect(filesOf(join(folder, "split"))).toEqual(filesOf(join(folder, "alone")));
  });

  test("do shares, and who collects does nothing himself", async () => {
    const url = "s3://bucket/shares";
    const right = writeStudy(folder, { methods: ["reap"] });
    const shares = [0, 1, 2].map((index) =>
      start("worker", "--study", right, ...place(`share-${index}`), "--store", url, "--index", `${index}`, "--of", "3"),
    );
    const ended = await Promise.all(shares.map((share) => share.ended));
    expect(ended, shares.map(({ output }) => output).join("\n")).toEqual([0, 0, 0]);
    const collect = start("study", right, ...place("all"), "--store", url, "--events", join(folder, "events"));
    expect(await collect.ended, collect.output).toBe(0);
    expect(resultsOf(join(folder, "all")).rows).toEqual(resultsOf(local).rows);
    const jobs = Object.values(jobFiles(join(folder, "all"))).flat();
    expect(jobs.filter((name) => /attempt|fetch|vain|log/.test(name))).toEqual([]);
    expect(readdirSync(join(folder, "share-0"))).toEqual(["jobs"]);
  });
});
