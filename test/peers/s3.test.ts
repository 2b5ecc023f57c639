import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { open } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { parseStoreAddress } from "../../src/study/store/address.js";
import { fetchBundle, putBundle, readIndex } from "../../src/study/store/bundle.js";
import { Objects } from "../../src/study/store/objects.js";
import { freePort, Program } from "../study/queue/processes.js";

const python = fileURLToPath(new URL("../../.peers/bin/python", import.meta.url));
const moto = fileURLToPath(new URL("../../.peers/bin/moto_server", import.meta.url));
if (!existsSync(moto))
  console.warn("SKIPPED: moto is missing, so that no other S3 server is tried (test/peers/README.md).");

describe.skipIf(!existsSync(moto))("moto, an S3 server of others", () => {
  const folder = mkdtempSync(join(tmpdir(), "ream-moto-"));
  let server: Program;
  let objects: Objects;

  beforeAll(async () => {
    const port = await freePort();
    server = new Program(python, [moto, "-H", "127.0.0.1", "-p", String(port)]);
    await server.shows(/Running on/);
    await fetch(`http://127.0.0.1:${port}/bucket`, { method: "PUT" });
    vi.stubEnv("AWS_ENDPOINT_URL_S3", `http://127.0.0.1:${port}`);
    vi.stubEnv("AWS_ACCESS_KEY_ID", "key");
    vi.stubEnv("AWS_SECRET_ACCESS_KEY", "secret");
    objects = new Objects(parseStoreAddress("s3://bucket/a b"), { patience: { total: 0, first: 1, longest: 1 } });
  });

  afterAll(async () => {
    objects.close();
    server.kill("SIGKILL");
    await server.ended;
    vi.unstubAllEnvs();
    rmSync(folder, { recursive: true });
  });

  test("keeps what is small, and says what is missing", async () => {
    expect([await objects.get("x"), await objects.size("x")]).toEqual([undefined, undefined]);
    await objects.putNewJson("x", { a: 1 });
    await objects.putNewJson("x", { a: 2 });
    expect(JSON.parse((await objects.get("x"))!)).toEqual({ a: 1 });
    const other = new Objects(parseStoreAddress("s3://none"));
    await expect(other.get("x")).rejects.toMatchObject({ code: "STORE_REFUSED" });
    other.close();
  });

  test("keeps files of several parts, which come back as they were", async () => {
    const content = Buffer.alloc(20 * 2 ** 20 + 17, "0123456789a");
    writeFileSync(join(folder, "large"), content);
    writeFileSync(join(folder, "empty"), "");
    await putBundle(objects, "bundle", folder, ["large", "empty"]);
    const index = await readIndex(objects, "bundle");
    await fetchBundle(objects, "bundle", index!, join(folder, "back"));
    const handle = await open(join(folder, "back/large"));
    expect((await handle.readFile()).equals(content)).toBe(true);
    expect((await handle.stat()).size).toBe(content.length);
    await handle.close();
  });
});
