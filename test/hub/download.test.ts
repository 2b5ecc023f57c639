import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeEach, describe, expect, test } from "vitest";
import { type Dataset, openDataset } from "../../src/hub/dataset.js";
import type { HubOptions } from "../../src/hub/settings.js";
import { etagOf, fail, sendFile, sha256, useFakeHub } from "./fake-hub.js";

const root = mkdtempSync(join(tmpdir(), "ream-test-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));
const hub = useFakeHub();
let folder: string;
let blobs: string;
const large = Buffer.from(Uint8Array.from({ length: 300_000 }, (_, i) => (i * i) >> 7));
const small = Buffer.from("a small file");

beforeEach(() => {
  folder = mkdtempSync(join(root, "case-"));
  blobs = join(folder, "home/hub/datasets--org--texts/blobs");
  mkdirSync(blobs, { recursive: true });
  hub.repositories["datasets/org/texts"] = { "data/large.jsonl": large, "small.txt": small };
});

const open = (options: HubOptions = hub.options(folder)): Promise<Dataset> => openDataset("org/texts", options);
const get = async (path = "data/large.jsonl", options?: HubOptions) =>
  readFileSync(await (await open(options)).file(path));
const isDownload = (url: string) => url.includes("large.jsonl");
const partial = () => join(blobs, `${sha256(large)}.incomplete`);

describe("downloads", () => {
  test("large files and small ones arrive whole", async () => {
    expect((await get()).equals(large)).toBe(true);
    expect((await get("small.txt")).equals(small)).toBe(true);
    expect(readdirSync(blobs).sort()).toEqual([sha256(large), etagOf(small)].sort());
  });

  test("only files that are asked for are downloaded", async () => {
    const dataset = await open();
    expect(dataset.files).toEqual(["data/large.jsonl", "small.txt"]);
    await dataset.file("small.txt");
    expect(hub.downloads("large.jsonl")).toEqual([]);
  });

  test("two that ask for the same file share one download", async () => {
    const datasets = await Promise.all([open(), open()]);
    const paths = await Promise.all(datasets.map((dataset) => dataset.file("data/large.jsonl")));
    expect(paths[0]).toBe(paths[1]);
    expect(hub.downloads("large.jsonl").filter(({ host }) => host === "cdn")).toHaveLength(1);
    expect(hub.events.filter(({ type }) => type === "hub.wait")).toHaveLength(1);
  });

  test("a partial file is continued", async () => {
    writeFileSync(partial(), large.subarray(0, 100_000));
    expect((await get()).equals(large)).toBe(true);
    expect(hub.downloads("large.jsonl").map(({ range }) => range)).toEqual(["bytes=100000-", "bytes=100000-"]);
    expect(existsSync(partial())).toBe(false);
  });

  test("a partial file that is already whole needs no request", async () => {
    writeFileSync(partial(), large);
    expect((await get()).equals(large)).toBe(true);
    expect(hub.downloads("large.jsonl")).toEqual([]);
  });

  test("a damaged or too long partial file is thrown away", async () => {
    for (const content of [Buffer.alloc(100_000), Buffer.alloc(large.length), Buffer.concat([large, small])]) {
      rmSync(blobs, { recursive: true });
      mkdirSync(blobs);
      writeFileSync(partial(), content);
      expect((await get()).equals(large)).toBe(true);
    }
  });

  test("a server that ignores ranges is understood", async () => {
    writeFileSync(partial(), large.subarray(0, 100_000));
    hub.intercept = ({ host }, response) => {
      if (host === "cdn") sendFile(large, undefined, response);
      return host === "cdn";
    };
    expect((await get()).equals(large)).toBe(true);
  });

  test("a part that does not continue the file, and 416, begin anew", async () => {
    for (const answer of ["wrong part", "416"]) {
      rmSync(blobs, { recursive: true });
      mkdirSync(blobs);
      writeFileSync(partial(), large.subarray(0, 100_000));
      hub.intercept = ({ host, range }, response) => {
        if (host !== "cdn" || range === undefined) return false;
        if (answer === "416") sendFile(large, "bytes=999999999-", response);
        else sendFile(large, "bytes=5-", response);
        return true;
      };
      expect((await get()).equals(large)).toBe(true);
    }
  });

  test("a body that ends early is continued from where it ended, as often as something comes", async () => {
    hub.intercept = ({ host, range }, response) => {
      if (host !== "cdn") return false;
      const start = Number(/\d+/.exec(range ?? "0")![0]);
      const total = `bytes ${start}-${large.length - 1}/${large.length}`;
      response.writeHead(start === 0 ? 200 : 206, { "content-length": large.length - start, "content-range": total });
      // The pause lets the part arrive: what comes together with the break is lost.
      response.write(large.subarray(start, start + 30_000), () => setTimeout(() => response.destroy(), 20));
      return true;
    };
    expect((await get()).equals(large)).toBe(true);
    expect(hub.downloads("large.jsonl").filter(({ host }) => host === "cdn").length).toBeGreaterThanOrEqual(10);
  });

  test("a body that is short without a broken connection is continued", async () => {
    let requests = 0;
    hub.intercept = ({ host }, response) => {
      if (host !== "cdn" || requests++ > 0) return false;
      response.writeHead(200, { "transfer-encoding": "chunked" });
      response.end(large.subarray(0, 1000));
      return true;
    };
    expect((await get()).equals(large)).toBe(true);
  });

  test("a connection on which nothing comes is given up and tried again", async () => {
    let requests = 0;
    hub.intercept = ({ host }, response) => {
      if (host !== "cdn" || requests++ > 0) return false;
      response.writeHead(200, { "content-length": large.length });
      response.write(large.subarray(0, 1000));
      return true;
    };
    expect((await get("data/large.jsonl", { ...hub.options(folder), stallTimeout: 300 })).equals(large)).toBe(true);
  });

  test("one that never comes to anything ends in an error", async () => {
    hub.intercept = ({ host }, response) => {
      if (host === "cdn") response.destroy();
      return host === "cdn";
    };
    await expect(get()).rejects.toMatchObject({ code: "HUB_UNREACHABLE" });
    expect(hub.downloads("large.jsonl").filter(({ host }) => host === "cdn")).toHaveLength(4);
  });

  test("wrong content is an error and leaves nothing", async () => {
    hub.intercept = ({ host }, response) => {
      if (host === "cdn") sendFile(Buffer.alloc(large.length, 1), undefined, response);
      return host === "cdn";
    };
    await expect(get()).rejects.toMatchObject({ code: "HUB_HASH_MISMATCH" });
    expect(readdirSync(blobs)).toEqual([]);
    expect(hub.downloads("large.jsonl").filter(({ host }) => host === "cdn")).toHaveLength(2);
  });

  test("a body that is too long does not fill the disk", async () => {
    hub.intercept = ({ host }, response) => {
      if (host !== "cdn") return false;
      response.writeHead(200, { "transfer-encoding": "chunked" });
      response.on("error", () => {});
      const pour = () => {
        while (!response.destroyed && response.write(Buffer.alloc(65_536)));
      };
      response.on("drain", pour);
      pour();
      return true;
    };
    await expect(get()).rejects.toMatchObject({ code: "HUB_HASH_MISMATCH" });
    expect(readdirSync(blobs)).toEqual([]);
  });

  test("a file that is no longer the one of the listing is an error", async () => {
    hub.intercept = ({ host, url }, response) => {
      if (host !== "hub" || !isDownload(url)) return false;
      response
        .writeHead(302, {
          location: `${hub.cdn}/datasets/org/texts/data/large.jsonl?x`,
          "x-linked-etag": `"${sha256(small)}"`,
        })
        .end();
      return true;
    };
    await expect(get()).rejects.toMatchObject({ code: "HUB_HASH_MISMATCH" });
  });

  test("an abort stops at once and keeps the partial file", async () => {
    const controller = new AbortController();
    hub.intercept = ({ host }, response) => {
      if (host !== "cdn") return false;
      response.writeHead(200, { "content-length": large.length });
      response.write(large.subarray(0, 50_000), () => setTimeout(() => controller.abort(), 100));
      return true;
    };
    const result = get("data/large.jsonl", { ...hub.options(folder), signal: controller.signal });
    await expect(result).rejects.toMatchObject({ name: "AbortError" });
    expect(readFileSync(partial()).equals(large.subarray(0, 50_000))).toBe(true);
  });

  test("a cache that cannot be written is named", async () => {
    writeFileSync(join(folder, "file"), "");
    const options = { ...hub.options(folder), cache: join(folder, "file") };
    await expect(get("small.txt", options)).rejects.toMatchObject({ code: "HUB_CACHE" });
  });
});

describe("the access token", () => {
  test("goes to the hub and to no other host", async () => {
    await get("data/large.jsonl", hub.options(folder, { HF_TOKEN: "hf_secret" }));
    expect(hub.received.filter(({ host }) => host === "hub").map(({ authorization }) => authorization)).toEqual(
      Array.from({ length: 3 }, () => "Bearer hf_secret"),
    );
    const cdn = hub.received.filter(({ host }) => host === "cdn");
    expect(cdn.map(({ authorization }) => authorization)).toEqual([undefined]);
  });

  test("does not follow a listing to another host", async () => {
    hub.intercept = ({ host, url }, response) => {
      if (host === "cdn") sendFile(Buffer.from("[]"), undefined, response);
      else if (!url.includes("/tree/")) return false;
      else response.writeHead(200, { link: `<${hub.cdn}/next>; rel="next"` }).end("[]");
      return true;
    };
    await open(hub.options(folder, { HF_TOKEN: "hf_secret" }));
    expect(hub.received.at(-1)).toMatchObject({ host: "cdn", authorization: undefined });
  });
});

describe("failures by status", () => {
  const answers = (status: number, error = "some reason", code?: string, times = Number.POSITIVE_INFINITY) => {
    let count = 0;
    hub.intercept = (_, response) => {
      if (count++ >= times) return false;
      fail(response, status, error, code);
      return true;
    };
  };

  test.each([
    [401, undefined, "HUB_AUTH", 1],
    [401, "GatedRepo", "HUB_GATED", 1],
    [403, undefined, "HUB_GATED", 1],
    [403, "GatedRepo", "HUB_GATED", 1],
    [404, "RepoNotFound", "HUB_NOT_FOUND", 1],
    [404, "RevisionNotFound", "HUB_NOT_FOUND", 1],
    [410, undefined, "HUB_RESPONSE", 1],
    [429, undefined, "HUB_RATE_LIMIT", 4],
    [500, undefined, "HUB_SERVER", 4],
    [502, undefined, "HUB_SERVER", 4],
    [503, undefined, "HUB_SERVER", 4],
    [504, undefined, "HUB_SERVER", 4],
  ])("%i %s is %s after %i requests", async (status, header, code, requests) => {
    answers(status, "some reason", header);
    await expect(open()).rejects.toMatchObject({
      code,
      message: expect.stringMatching(new RegExp(`HTTP ${status}.*some reason`)),
      where: expect.stringContaining("/api/datasets/org/texts"),
      hint: expect.any(String),
    });
    expect(hub.received).toHaveLength(requests);
  });

  test.each([429, 500, 502, 503, 504])("%i is tried again", async (status) => {
    answers(status, "busy", undefined, 2);
    expect((await get()).equals(large)).toBe(true);
    expect(hub.events.filter(({ type }) => type === "hub.retry")).toHaveLength(2);
  });

  test("Retry-After is obeyed", async () => {
    let count = 0;
    hub.intercept = (_, response) => {
      if (count++ > 0) return false;
      response.writeHead(429, { "retry-after": "1" }).end();
      return true;
    };
    await open();
    expect(hub.events).toEqual([expect.objectContaining({ type: "hub.retry", seconds: 1 })]);
  });

  test("a Retry-After of an hour is not waited for", async () => {
    hub.intercept = (_, response) => {
      response.writeHead(429, { "retry-after": "3600" }).end();
      return true;
    };
    await expect(open()).rejects.toMatchObject({ code: "HUB_RATE_LIMIT" });
    expect(hub.received).toHaveLength(1);
  });

  test("no hub at all", async () => {
    const options = { ...hub.options(folder), endpoint: "http://127.0.0.1:9" };
    await expect(open(options)).rejects.toMatchObject({
      code: "HUB_UNREACHABLE",
      hint: expect.stringMatching(/local folder.*HF_HUB_OFFLINE/),
    });
  });

  test.each([
    ["JSON", "<html>", "HUB_RESPONSE"],
    ["an object", "7", "HUB_RESPONSE"],
    ["null", "null", "HUB_RESPONSE"],
    ["a commit", '{"sha":"../../x"}', "HUB_RESPONSE"],
  ])("an answer that is not %s", async (_, body, code) => {
    hub.intercept = (_request, response) => {
      response.writeHead(200).end(body);
      return true;
    };
    await expect(open()).rejects.toMatchObject({ code });
  });

  test.each([
    "<html>",
    "{}",
    "null",
    "[null]",
    '[{"type":"file"}]',
    '[{"type":"file","path":"a","size":-1,"oid":"x"}]',
  ])("a listing that is %s", async (body) => {
    hub.intercept = ({ url }, response) => {
      if (url.includes("/tree/")) response.writeHead(200).end(body);
      return url.includes("/tree/");
    };
    await expect(open()).rejects.toMatchObject({ code: "HUB_RESPONSE" });
  });

  test("an answer that breaks off", async () => {
    for (const part of ["/revision/", "/tree/"]) {
      hub.intercept = ({ url }, response) => {
        if (!url.includes(part)) return false;
        response.writeHead(200, { "content-length": 1000 });
        response.write("[", () => setTimeout(() => response.destroy(), 20));
        return true;
      };
      await expect(open()).rejects.toMatchObject({ code: "HUB_UNREACHABLE" });
    }
  });

  test("endless redirects, and one that is not http", async () => {
    hub.intercept = (_, response) => {
      response.writeHead(302, { location: "/again" }).end();
      return true;
    };
    await expect(open()).rejects.toMatchObject({ code: "HUB_REDIRECT" });
    expect(hub.received.length).toBeLessThan(20);
    hub.intercept = (_, response) => {
      response.writeHead(302, { location: "file:///etc/passwd" }).end();
      return true;
    };
    await expect(open()).rejects.toMatchObject({ code: "HUB_REDIRECT" });
  });
});

describe("a dataset offline", () => {
  test("is what the cache holds", async () => {
    await get();
    hub.received = [];
    const dataset = await open(hub.options(folder, { HF_HUB_OFFLINE: "1" }));
    expect(dataset.files).toEqual(["data/large.jsonl"]);
    expect(readFileSync(await dataset.file("data/large.jsonl")).equals(large)).toBe(true);
    expect(hub.received).toEqual([]);
  });

  test("or an error", async () => {
    await expect(open(hub.options(folder, { HF_HUB_OFFLINE: "1" }))).rejects.toMatchObject({ code: "HUB_OFFLINE" });
  });
});
