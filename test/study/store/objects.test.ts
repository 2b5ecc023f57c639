import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { open } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test, vi } from "vitest";
import { parseStoreAddress } from "../../../src/study/store/address.js";
import { Objects } from "../../../src/study/store/objects.js";
import { FakeS3 } from "../../support/fake-s3.js";

const folder = mkdtempSync(join(tmpdir(), "ream-objects-"));
const server = new FakeS3();
const patience = { total: 2000, first: 5, longest: 20 };
const code = (name: string) => expect.objectContaining({ code: name });
let objects: Objects;

beforeAll(() => server.start());
beforeEach(() => {
  for (const [name, value] of Object.entries(server.environment)) vi.stubEnv(name, value);
  objects = new Objects(parseStoreAddress("s3://bucket/a study/ä+b"), { patience, part: 1000 });
});
afterEach(() => {
  objects.close();
  server.fault = () => undefined;
  server.objects.clear();
  vi.unstubAllEnvs();
});
afterAll(async () => {
  await server.stop();
  rmSync(folder, { recursive: true });
});

/** Fails so often, then no more. */
function times(count: number, fault: "503" | "cut" | "lost", method: string): void {
  server.fault = (asked) => (asked === method && count-- > 0 ? fault : undefined);
}

async function putFile(key: string, content: Buffer): Promise<void> {
  writeFileSync(join(folder, "file"), content);
  const handle = await open(join(folder, "file"));
  await objects.putFile(key, handle, content.length).finally(() => handle.close());
}

async function getFile(key: string, bytes: number): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  await objects.getFile(key, bytes, async (chunk) => void chunks.push(chunk));
  return Buffer.concat(chunks);
}

const content = Buffer.from(Array.from({ length: 2500 }, (_, i) => i % 251));

test("addresses", () => {
  expect(parseStoreAddress("s3://my.bucket")).toEqual({ bucket: "my.bucket", prefix: "", url: "s3://my.bucket" });
  expect(parseStoreAddress("s3://bucket//a/b/")).toEqual({ bucket: "bucket", prefix: "a/b/", url: "s3://bucket/a/b" });
  for (const wrong of ["", "bucket/a", "https://bucket/a", "s3:///a", "s3://B/a"])
    expect(() => parseStoreAddress(wrong)).toThrow(code("STORE_URL"));
});

test("what is put is there, below the prefix, and what is not is not", async () => {
  await objects.put("x y", "text");
  expect(await objects.get("x y")).toBe("text");
  expect(await objects.size("x y")).toBe(4);
  expect([...server.objects.keys()]).toEqual(["a study/ä+b/x y"]);
  expect([await objects.get("z"), await objects.size("z")]).toEqual([undefined, undefined]);
  await objects.putNewJson("x y", {});
  expect(await objects.get("x y")).toBe("text");
});

test.each([0, 1, 999, 1000, 1001, 2000, 2500])(
  "a file of %i bytes, of which a part is in memory at a time",
  async (bytes) => {
    server.largest = 0;
    await putFile("file", content.subarray(0, bytes));
    expect(server.largest).toBeLessThanOrEqual(1000);
    expect(await getFile("file", bytes)).toEqual(content.subarray(0, bytes));
    expect(server.unfinished).toBe(0);
  },
);

test.each(["503", "cut", "lost"] as const)("a store that fails for a while (%s) is waited for", async (fault) => {
  for (const [method, bytes] of [
    ["PUT", 10],
    ["PUT", 2500],
    ["POST", 2500],
  ] as const) {
    times(fault === "lost" ? 1 : 5, fault, method);
    await putFile("file", content.subarray(0, bytes));
    server.fault = () => undefined;
    expect(await getFile("file", bytes)).toEqual(content.subarray(0, bytes));
  }
  for (const method of ["GET", "HEAD"]) {
    times(5, fault, method);
    expect(await objects.size("file")).toBe(2500);
    expect(await getFile("file", 2500)).toEqual(content);
  }
});

test("one that stays down is given up, and leaves no part behind that can be taken back", async () => {
  server.fault = () => "503";
  await expect(objects.get("x")).rejects.toThrow(code("STORE_UNREACHABLE"));
  const before = server.unfinished;
  let parts = 0;
  server.fault = (method) => (method === "PUT" && ++parts > 1 ? "503" : undefined);
  await expect(putFile("file", content)).rejects.toThrow(code("STORE_UNREACHABLE"));
  expect([server.unfinished, server.objects.size]).toEqual([before, 0]);
});

test("nothing listens", async () => {
  vi.stubEnv("AWS_ENDPOINT_URL", "http://127.0.0.1:1");
  const none = new Objects(parseStoreAddress("s3://bucket"), { patience: { ...patience, total: 50 } });
  await expect(none.get("x")).rejects.toMatchObject({
    code: "STORE_UNREACHABLE",
    message: expect.stringContaining("ECONNREFUSED"),
    where: "s3://bucket/x",
  });
});

test("what is refused is not tried again", async () => {
  const refused = async (url: string) => {
    const other = new Objects(parseStoreAddress(url), { patience });
    const before = server.asked.length;
    await expect(other.get("x")).rejects.toThrow(code("STORE_REFUSED"));
    return server.asked.length - before;
  };
  expect(await refused("s3://no-such-bucket")).toBe(1);
  vi.stubEnv("AWS_SECRET_ACCESS_KEY", "wrong");
  expect(await refused("s3://bucket")).toBe(1);
  vi.stubEnv("AWS_ACCESS_KEY_ID", "");
  vi.stubEnv("AWS_SHARED_CREDENTIALS_FILE", join(folder, "none"));
  vi.stubEnv("AWS_CONFIG_FILE", join(folder, "none"));
  expect(await refused("s3://bucket")).toBe(0);
  vi.stubEnv("AWS_ENDPOINT_URL", "no address");
  expect(await refused("s3://bucket")).toBe(0);
});

test("a missing or shorter object is damage, and the disk's errors stay what they are", async () => {
  await objects.put("short", "12");
  await expect(getFile("short", 3)).rejects.toThrow(code("STORE_DAMAGED"));
  await expect(getFile("none", 3)).rejects.toThrow(code("STORE_DAMAGED"));
  const full = Object.assign(new Error("full"), { code: "ENOSPC", syscall: "write" });
  await expect(objects.getFile("short", 2, () => Promise.reject(full))).rejects.toBe(full);
});

test("stops at once although the store is down", async () => {
  server.fault = () => "503";
  const controller = new AbortController();
  const stopped = new Objects(parseStoreAddress("s3://bucket"), { signal: controller.signal });
  setTimeout(() => controller.abort(), 100);
  await expect(stopped.get("x")).rejects.toThrow(/abort/i);
});
