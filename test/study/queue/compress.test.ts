import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { folderDigest } from "../../support/folder-digest.js";
import { type Program, REDIS_MISSING, RedisServer, ream } from "./processes.js";
import { calibration, MODEL } from "./small-study.js";

const folder = mkdtempSync(join(tmpdir(), "ream-compress-queue-"));
const programs: Program[] = [];
const observed = join(folder, "observed");

function start(...args: readonly string[]): Program {
  const program = ream(...args);
  programs.push(program);
  return program;
}

describe.skipIf(REDIS_MISSING)("a compression from an observation, on several workers,", () => {
  let server: RedisServer;
  beforeAll(async () => {
    server = await RedisServer.start(join(folder, "redis"));
    const text = ["general", "math"].flatMap((name) => ["--domain", `${name}=${calibration(name)}`]);
    const options = [...text, "--sequences", "24", "--length", "32", "--mix", "general=0.5,math=0.5"];
    const observing = start("observe", MODEL, "--out", observed, ...options);
    expect(await observing.ended, observing.output).toBe(0);
  });
  afterAll(async () => {
    for (const program of programs) program.kill("SIGKILL");
    await server.kill();
    rmSync(folder, { recursive: true, force: true });
  });

  const worker = (...more: readonly string[]) => start("worker", "--queue", server.url, "--lock-seconds", "2", ...more);
  const compress = (out: string, method: string, ...more: readonly string[]) =>
    start(
      ...["compress", MODEL, "--observed", observed, "--mix", "general=0.5,math=0.5", "--experts", "48"],
      ...["--shards", "layer", "--method", method, "--out", join(folder, out), ...more],
    );
  const queue = () => ["--queue", server.url];
  /** What a single process makes. */
  async function alone(method: string): Promise<Record<string, string>> {
    const out = `alone-${method}`;
    if (!existsSync(join(folder, out))) {
      const program = compress(out, method);
      expect(await program.ended, program.output).toBe(0);
    }
    return folderDigest(join(folder, out));
  }
  /** How often the workers have begun a part, and ended it. */
  const count = (workers: readonly Program[], what: "Began" | "Done", label: string) =>
    workers.reduce((sum, { output }) => sum + (output.match(new RegExp(`${what}: ${label}[.,]`, "g")) ?? []).length, 0);
  async function stop(workers: readonly Program[]): Promise<void> {
    for (const program of workers) program.kill("SIGTERM");
    await Promise.all(workers.map(({ ended }) => ended));
  }

  test("has the bytes of one process", async () => {
    const workers = [worker(), worker("--out", join(folder, "split.partial"))];
    const driver = compress("split", "ream", ...queue(), "--events", join(folder, "events.jsonl"));
    expect(await driver.ended, driver.output).toBe(0);
    await stop(workers);
    expect(folderDigest(join(folder, "split"))).toEqual(await alone("ream"));
    expect(existsSync(join(folder, "split.partial"))).toBe(false);
    for (const { output } of workers) expect(output).toMatch(/Done: /);
    const events = readFileSync(join(folder, "events.jsonl"), "utf8").trimEnd().split("\n");
    const types = events.map((line) => JSON.parse(line).type as string);
    expect(types.filter((type) => type === "layer")).toHaveLength(4);
    expect(types.filter((type) => type === "shard")).toHaveLength(5);
    expect(types).toContain("study");
    for (const label of ["layer 0", "layer 3", "file model-00005-of-00005.safetensors"])
      expect([count(workers, "Began", label), count(workers, "Done", label)]).toEqual([1, 1]);
  });

  test("loses with a worker what that one was at", async () => {
    const expected = await alone("ream");
    const driver = compress("lost", "ream", ...queue());
    const victim = worker();
    await victim.shows(/Done: layer .*\n.*Began: layer/);
    victim.kill("SIGKILL");
    const lost = victim.output.match(/(?<=Began: )layer \d/g)!.at(-1);
    const second = worker();
    await second.shows(/Began: file/);
    second.kill("SIGKILL");
    const third = worker();
    expect(await driver.ended, driver.output).toBe(0);
    await stop([third]);
    const workers = [victim, second, third];
    const layers = [0, 1, 2, 3].map((layer) => count(workers, "Began", `layer ${layer}`));
    expect(layers).toEqual([0, 1, 2, 3].map((layer) => (`layer ${layer}` === lost ? 2 : 1)));
    expect(folderDigest(join(folder, "lost"))).toEqual(expected);
  });

  test("goes on when who runs it was killed, or interrupted", async () => {
    const expected = await alone("ream");
    const workers = [worker()];
    const killed = compress("interrupted", "ream", ...queue());
    await workers[0]!.shows(/Done: layer/);
    killed.kill("SIGKILL");
    await killed.ended;
    const interrupted = compress("interrupted", "ream", ...queue());
    await workers[0]!.shows(/Began: file/);
    interrupted.kill("SIGINT");
    expect(await interrupted.ended, interrupted.output).toBe(130);
    const last = compress("interrupted", "ream", ...queue());
    expect(await last.ended, last.output).toBe(0);
    await stop(workers);
    for (const layer of [0, 1, 2, 3]) expect(count(workers, "Done", `layer ${layer}`)).toBe(1);
    expect(folderDigest(join(folder, "interrupted"))).toEqual(expected);
  });

  test("tells which layer failed, keeps the others, and tries it again", async () => {
    const expected = await alone("reap");
    const workers = [worker()];
    const file = join(observed, "math/0-12/layer-00001.safetensors");
    const bytes = readFileSync(file);
    writeFileSync(file, bytes.subarray(0, bytes.length - 8));
    const driver = compress("failed", "reap", ...queue());
    expect(await driver.ended).toBe(1);
    expect(driver.output).toMatch(/COMPRESS_PARTS: 1 parts were not made\nlayer 1: SAFETENSORS_/);
    writeFileSync(file, bytes);
    const again = compress("failed", "reap", ...queue());
    expect(await again.ended, again.output).toBe(0);
    await stop(workers);
    expect([0, 1, 2, 3].map((layer) => count(workers, "Done", `layer ${layer}`))).toEqual([1, 1, 1, 1]);
    expect(folderDigest(join(folder, "failed"))).toEqual(expected);
  });

  test("is refused where a layer needs those before it", async () => {
    const out = join(folder, "sequential");
    const driver = start("compress", MODEL, "--experts", "48", "--out", out, ...queue());
    expect(await driver.ended).toBe(2);
    expect(driver.output).toContain("SETTINGS_CONFLICT");
    expect(existsSync(`${out}.partial`)).toBe(false);
  });
});
