import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import type { Unit } from "../../../src/observe/cuts.js";
import { unitPath } from "../../../src/observe/manifest.js";
import { Attempt, FETCH } from "../../../src/study/attempt.js";
import { makeJob } from "../../../src/study/job.js";
import { jobFolder, writeResult } from "../../../src/study/job-folder.js";
import { S3Store } from "../../../src/study/store/s3-store.js";
import { FakeS3 } from "../../support/fake-s3.js";

const server = new FakeS3();
const stores: S3Store[] = [];
let root: string;

beforeAll(() => server.start());
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "ream-store-"));
  for (const [name, value] of Object.entries(server.environment)) vi.stubEnv(name, value);
});
afterEach(() => {
  for (const store of stores.splice(0)) store.close();
  server.fault = () => undefined;
  server.objects.clear();
  server.asked.length = 0;
  vi.unstubAllEnvs();
  rmSync(root, { recursive: true });
});
afterAll(() => server.stop());

const code = (name: string) => expect.objectContaining({ code: name });
const patience = { total: 100, first: 5, longest: 20 };

/** A machine with a folder of its own. */
function machine(name: string): S3Store {
  const store = S3Store.open("s3://bucket/study", join(root, name), { patience });
  stores.push(store);
  return store;
}

const judging = { tasks: [], data: [], limit: undefined, heldOut: {}, heldOutSequences: 1, length: 8 };
const engine = { backend: "auto", precision: "auto", threads: undefined } as const;
const job = makeJob({ kind: "original", model: "m", identity: "i", engine, judging });

function write(path: string, content: string): void {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, content);
}

async function finish({ folder }: S3Store, seconds = 1): Promise<void> {
  const own = jobFolder(folder, job.id);
  write(join(own, "items.json"), "{}");
  write(join(own, "observation/general/0-8/layer.safetensors"), "x".repeat(5000));
  write(join(own, "observation/lock.0"), "");
  write(join(own, "log.jsonl"), "");
  write(join(own, "failure.json"), "");
  write(join(own, "attempt-1/half"), "");
  await writeResult(own, job, undefined, { seconds, notes: [] });
}

function filesOf({ folder }: S3Store): string[] {
  const own = jobFolder(folder, job.id);
  if (!existsSync(own)) return [];
  const entries = readdirSync(own, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  return entries.map(({ parentPath, name }) => join(parentPath, name).slice(own.length + 1)).sort();
}

const FILES = ["items.json", "observation/general/0-8/layer.safetensors", "result.json"];

describe("jobs", () => {
  test("of one machine are those of all, with the files that belong to their results", async () => {
    const [a, b] = [machine("a"), machine("b")];
    expect(await a.job(job.id)).toBeUndefined();
    await finish(a);
    expect(await b.isDone(job.id)).toBe(false);
    const result = await a.job(job.id);
    expect(server.asked.findLast((asked) => asked.startsWith("PUT"))).toBe(`PUT study/jobs/${job.id}/index.json`);
    expect(await b.isDone(job.id)).toBe(true);
    expect(await b.job(job.id)).toEqual(result);
    expect(filesOf(b)).toEqual(FILES);
    for (const name of FILES) {
      const read = ({ folder }: S3Store) => readFileSync(join(jobFolder(folder, job.id), name), "utf8");
      expect(read(b)).toBe(read(a));
    }
    const asked = server.asked.length;
    expect([await a.job(job.id), await b.job(job.id)]).toEqual([result, result]);
    expect(server.asked.length).toBe(asked);
  });

  test("that are half put up do not count, and what is there is not sent again", async () => {
    const [a, b] = [machine("a"), machine("b")];
    await finish(a);
    let puts = 0;
    server.fault = (method) => (method === "PUT" && ++puts > 2 ? "503" : undefined);
    await expect(a.job(job.id)).rejects.toThrow(code("STORE_UNREACHABLE"));
    server.fault = () => undefined;
    expect(await b.job(job.id)).toBeUndefined();
    server.asked.length = 0;
    await a.job(job.id);
    expect(server.asked.filter((asked) => asked.startsWith("PUT"))).toHaveLength(2);
    expect(await b.job(job.id)).toBeDefined();
  });

  test("that are half fetched do not count, and are gone on with", async () => {
    const [a, b] = [machine("a"), machine("b")];
    await finish(a);
    await a.job(job.id);
    let gets = 0;
    server.fault = (method) => (method === "GET" && ++gets > 3 ? "503" : undefined);
    await expect(b.job(job.id)).rejects.toThrow(code("STORE_UNREACHABLE"));
    expect(filesOf(b).filter((name) => !name.startsWith(FETCH))).toEqual([]);
    server.fault = () => undefined;
    // Whoever does the job itself does not take what was fetched for its own.
    const attempt = await Attempt.begin(jobFolder(b.folder, job.id));
    expect(readdirSync(attempt.folder).filter((name) => !name.startsWith("lock"))).toEqual([]);
    await attempt.leave();
    server.asked.length = 0;
    expect(await b.job(job.id)).toBeDefined();
    expect(server.asked.filter((asked) => asked.includes("/files/"))).toHaveLength(1);
    expect(filesOf(b)).toEqual(FILES);
  });

  test("that two machines have done are whole, whosever they are", async () => {
    const [a, b, c] = [machine("a"), machine("b"), machine("c")];
    await Promise.all([finish(a, 1), finish(b, 2)]);
    await Promise.all([a.job(job.id), b.job(job.id)]);
    expect([1, 2]).toContain((await c.job(job.id))!.seconds);
    expect([(await a.job(job.id))!.seconds, (await b.job(job.id))!.seconds]).toEqual([1, 2]);
  });

  test("that are fetched by two processes of a machine at once are there once", async () => {
    const [a, b, again] = [machine("a"), machine("b"), machine("b")];
    await finish(a);
    await a.job(job.id);
    await Promise.all([b.job(job.id), again.job(job.id)]);
    expect(filesOf(b)).toEqual(FILES);
  });

  test("whose files are damaged do not count", async () => {
    const [a, b] = [machine("a"), machine("b")];
    await finish(a);
    await a.job(job.id);
    const [key] = [...server.objects].find(([, content]) => content.length === 5000)!;
    server.objects.set(key, Buffer.alloc(5000));
    await expect(b.job(job.id)).rejects.toMatchObject({ code: "STORE_DAMAGED", where: `s3://bucket/${key}` });
    expect(filesOf(b).filter((name) => !name.startsWith(FETCH))).toEqual([]);
    const index = `study/jobs/${job.id}/index.json`;
    const text = server.objects.get(index)!.toString();
    for (const path of ["../items.json", "/items.json", "a/../../b", "a//b", "."]) {
      server.objects.set(index, Buffer.from(text.replace('"items.json"', JSON.stringify(path))));
      await expect(b.job(job.id)).rejects.toThrow(code("STORE_DAMAGED"));
    }
    server.objects.set(index, Buffer.from("{"));
    await expect(b.job(job.id)).rejects.toThrow();
  });

  test("show life", async () => {
    const [a, b] = [machine("a"), machine("b")];
    const before = await b.signOfLife(job.id);
    a.showLife(job.id)();
    await vi.waitUntil(async () => (await b.signOfLife(job.id)) !== before);
  });
});

test("the queue of a store is the same for all", async () => {
  const [a, b] = [machine("a"), machine("b")];
  expect(await a.queueId()).toBeUndefined();
  const [one, other] = await Promise.all([a.ensureQueueId(), b.ensureQueueId()]);
  expect(one).toBe(other);
  expect(await machine("c").queueId()).toBe(one);
});

describe("units of an observation", () => {
  const unit: Unit = { domain: "general", begin: 0, end: 8 };
  const path = unitPath(unit, 3);
  const claim = { format: "ream-observation", model: { name: "m" }, layers: [3] };
  const begin = ({ folder }: S3Store, about: object) => write(join(folder, "claim.json"), JSON.stringify(about));

  async function observe(store: S3Store, content: string): Promise<boolean> {
    let asked = false;
    await store.observeUnit(unit, async (folder) => {
      asked = true;
      expect(JSON.parse(readFileSync(join(folder, "claim.json"), "utf8"))).toMatchObject({ layers: [3] });
      write(join(folder, path), content);
    });
    return asked;
  }

  test("come from workers to who asked for them, once", async () => {
    const [driver, worker, other] = [machine("driver"), machine("worker"), machine("other")];
    await expect(observe(worker, "")).rejects.toThrow(code("OBSERVATION_MISSING"));
    begin(driver, claim);
    await driver.offerObservation(false);
    await expect(driver.fetchUnit(unit)).rejects.toThrow(code("STORE_DAMAGED"));
    expect(await observe(worker, "one")).toBe(true);
    expect(await observe(other, "two")).toBe(false);
    await driver.fetchUnit(unit);
    expect(readFileSync(join(driver.folder, path), "utf8")).toBe("one");
    // What went up is not kept twice.
    expect(readdirSync(worker.folder, { recursive: true }).filter((name) => String(name).endsWith("tensors"))).toEqual(
      [],
    );
  });

  test("of an observation that goes on count, those of another, or of one made anew, do not", async () => {
    const worker = machine("worker");
    const offer = async (about: object, anew: boolean) => {
      const driver = machine("driver");
      begin(driver, about);
      await driver.offerObservation(anew);
    };
    await offer(claim, false);
    expect(await observe(worker, "one")).toBe(true);
    await offer(claim, false);
    expect(await observe(worker, "two")).toBe(false);
    await offer({ ...claim, model: { name: "other" } }, false);
    expect(await observe(worker, "three")).toBe(true);
    await offer({ ...claim, model: { name: "other" } }, true);
    expect(await observe(worker, "four")).toBe(true);
  });
});
