import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Redis } from "ioredis";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { makeJob } from "../../../src/study/job.js";
import type { JobOutcomes } from "../../../src/study/job-queue.js";
import { Board } from "../../../src/study/queue/board.js";
import { readQueueId } from "../../../src/study/queue/names.js";
import { decodeError, encodeError, type Order } from "../../../src/study/queue/order.js";
import { connect } from "../../../src/study/queue/redis.js";
import { redisQueue } from "../../../src/study/queue/redis-queue.js";
import { SharedFolder } from "../../../src/study/store/store.js";
import { REDIS_MISSING, RedisServer } from "./processes.js";

const folder = mkdtempSync(join(tmpdir(), "ream-board-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const judging = { tasks: [], data: [], limit: undefined, heldOut: {}, heldOutSequences: 1, length: 8 };
const engine = { backend: "auto", precision: "auto", threads: undefined } as const;
const jobs = ["a", "b"].map((model) => makeJob({ kind: "original", model, identity: "i", engine, judging }));
const order: Order = { work: { kind: "job", job: jobs[0]! }, label: "a", workingFolder: "/" };

describe.skipIf(REDIS_MISSING)("a board", () => {
  let server: RedisServer;
  let redis: Redis;
  beforeAll(async () => {
    server = await RedisServer.start(join(folder, "redis"));
    redis = new Redis(server.url).on("error", () => undefined);
  });
  afterAll(async () => {
    redis.disconnect();
    await server.kill();
  });

  test("puts orders up again that the server has forgotten, and leaves nothing behind", async () => {
    const board = await Board.open(server.url, new SharedFolder(join(folder, "one")));
    await board.put("1234567890123456", order);
    await board.put("1234567890123456", order);
    expect(await board.look("1234567890123456")).toEqual({ state: "waiting" });
    await redis.flushall();
    expect(await board.look("1234567890123456")).toEqual({ state: "waiting" });
    expect((await redis.keys("*order-1234567890123456")).length).toBe(1);
    await board.close(true);
    expect(await redis.keys("*")).toEqual([]);
  });

  test("of a study that was stopped holds nothing that waits, and is found again", async () => {
    const place = join(folder, "two");
    const board = await Board.open(server.url, new SharedFolder(place));
    const id = await readQueueId(place);
    await board.put("x", order);
    await board.close(false);
    const again = await Board.open(server.url, new SharedFolder(place));
    expect(await readQueueId(place)).toBe(id);
    expect(await redis.keys("*order-x")).toEqual([]);
    await again.close(true);
  });

  test("takes back what is not begun when the hours of the budget are over", async () => {
    const board = await Board.open(server.url, new SharedFolder(join(folder, "three")));
    const signal = new AbortController().signal;
    const run = redisQueue(board, { jobs: 1, hours: 0.7 / 3600 }, signal).run(jobs, new Map());
    let outcomes: JobOutcomes | undefined;
    while (outcomes === undefined) {
      const step = await run.next();
      if (step.done) outcomes = step.value;
    }
    expect([...outcomes.values()].map(({ state }) => state)).toEqual(["left-out", "left-out"]);
    await board.close(true);
  });

  test("stops at once although the server is down", async () => {
    const board = await Board.open(server.url, new SharedFolder(join(folder, "four")));
    await server.kill();
    const controller = new AbortController();
    const run = redisQueue(board, {}, controller.signal).run(jobs, new Map());
    setTimeout(() => controller.abort(), 100);
    const all = async () => {
      while (!(await run.next()).done);
    };
    await expect(all()).rejects.toThrow(/abort/);
    await board.close(false);
    await server.restart();
  });
});

test("addresses are checked, and passwords not told", async () => {
  const code = (name: string) => expect.objectContaining({ code: name });
  for (const url of ["localhost", "http://localhost", ""])
    await expect(connect(url)).rejects.toThrow(code("QUEUE_URL"));
  const error: Error & { where?: string } = await connect("redis://me:secret@127.0.0.1:1/2", 300).then(
    () => expect.fail(),
    (error) => error,
  );
  expect(error).toMatchObject({ code: "QUEUE_UNREACHABLE", where: "redis://me:***@127.0.0.1:1/2" });
});

test("errors travel as texts", () => {
  const error = { code: "A", message: "b\nc" };
  expect(decodeError(encodeError(error))).toEqual(error);
  expect(decodeError("job stalled")).toEqual({ code: "JOB_STALLED", message: "job stalled" });
  expect(decodeError("{}")).toEqual({ code: "JOB_STALLED", message: "{}" });
});
