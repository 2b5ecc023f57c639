import { mkdirSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeEach, describe, expect, test } from "vitest";
import { resolveModel } from "../../src/hub/model.js";
import { COMMIT, etagOf, useFakeHub } from "./fake-hub.js";

const root = mkdtempSync(join(tmpdir(), "ream-test-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));
const hub = useFakeHub();
let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(root, "case-"));
});

const bytes = (size: number, seed: number) =>
  Buffer.from(Uint8Array.from({ length: size }, (_, i) => (i * 31 + seed) & 255));
const index = (...shards: string[]) =>
  Buffer.from(JSON.stringify({ weight_map: Object.fromEntries(shards.map((s, i) => [`w${i}`, s])) }));

const sharded = () => ({
  "config.json": Buffer.from("{}"),
  "tokenizer.json": bytes(5000, 1),
  "chat_template.jinja": Buffer.from("x"),
  "modeling_x.py": Buffer.from("print()"),
  "README.md": Buffer.from("card"),
  LICENSE: Buffer.from("terms"),
  "model.safetensors.index.json": index("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"),
  "model-00001-of-00002.safetensors": bytes(3000, 2),
  "model-00002-of-00002.safetensors": bytes(2000, 3),
  "consolidated.safetensors": bytes(5000, 4),
  "pytorch_model.bin": bytes(5000, 5),
  "model.gguf": bytes(5000, 6),
  "original/consolidated.00.pth": bytes(5000, 7),
  "original/params.json": Buffer.from("{}"),
  "onnx/model.safetensors": bytes(1500, 8),
});

describe("a model of the hub", () => {
  test("comes into the cache in the layout of other tools, and only what is needed of it", async () => {
    hub.repositories["models/org/moe"] = sharded();
    const options = hub.options(folder);
    const model = await resolveModel("org/moe", options);
    const repository = join(folder, "home/hub/models--org--moe");
    expect(model).toEqual({
      folder: join(repository, "snapshots", COMMIT),
      id: "org/moe",
      revision: "main",
      commit: COMMIT,
    });
    expect(readdirSync(model.folder).sort()).toEqual(
      Object.keys(sharded())
        .filter((name) => !/consolidated|\.bin|gguf|\//.test(name))
        .sort(),
    );
    for (const name of readdirSync(model.folder)) {
      const data = sharded()[name as "config.json"];
      expect(readlinkSync(join(model.folder, name))).toBe(`../../blobs/${etagOf(data)}`);
      expect(readFileSync(join(model.folder, name)).equals(data)).toBe(true);
    }
    expect(readFileSync(join(repository, "refs/main"), "utf8")).toBe(COMMIT);
    expect(readdirSync(join(repository, "blobs")).filter((name) => /incomplete|tmp/.test(name))).toEqual([]);
    expect(readdirSync(join(folder, "home/hub/.locks/models--org--moe"))).toEqual([]);
  });

  test("a second time, nothing is downloaded again", async () => {
    hub.repositories["models/org/moe"] = sharded();
    const first = await resolveModel("org/moe", hub.options(folder));
    hub.received = [];
    expect(await resolveModel("hf://org/moe@main", hub.options(folder))).toEqual(first);
    expect(hub.received.filter(({ url }) => url.includes("/resolve/"))).toEqual([]);
  });

  test("listings come in pages", async () => {
    hub.repositories["models/org/moe"] = sharded();
    hub.pageSize = 2;
    const { folder: snapshot } = await resolveModel("org/moe@v1", hub.options(folder));
    expect(readdirSync(snapshot)).toHaveLength(9);
    expect(hub.received.filter(({ url }) => url.includes("/tree/")).length).toBeGreaterThan(6);
    expect(readFileSync(join(folder, "home/hub/models--org--moe/refs/v1"), "utf8")).toBe(COMMIT);
  });

  test("without an index, model.safetensors alone is taken", async () => {
    const files = {
      "config.json": Buffer.from("{}"),
      "model.safetensors": bytes(1200, 1),
      "consolidated.safetensors": bytes(1200, 2),
    };
    hub.repositories["models/org/one"] = files;
    const { folder: snapshot } = await resolveModel("org/one", hub.options(folder));
    expect(readdirSync(snapshot).sort()).toEqual(["config.json", "model.safetensors"]);
  });

  test("progress adds up to the size of what is downloaded", async () => {
    hub.repositories["models/org/moe"] = sharded();
    await resolveModel("org/moe", hub.options(folder));
    const last = hub.events.filter((event) => event.type === "hub.download").at(-1)!;
    expect(last).toMatchObject({ repository: "org/moe", totalReceived: 5000, totalSize: 5000 });
  });

  test.each([
    ["only .bin files", { "config.json": Buffer.from("{}"), "pytorch_model.bin": bytes(10, 1) }, "HUB_NO_SAFETENSORS"],
    [
      "a missing shard",
      { "model.safetensors.index.json": index("a.safetensors", "b.safetensors"), "a.safetensors": bytes(10, 1) },
      "HUB_INCOMPLETE",
    ],
    [
      "an index out of the folder",
      { "model.safetensors.index.json": index("../../x"), "a.safetensors": bytes(10, 1) },
      "HUB_INCOMPLETE",
    ],
    [
      "an index that is no JSON",
      { "model.safetensors.index.json": Buffer.from("{"), "a.safetensors": bytes(10, 1) },
      "HUB_INDEX",
    ],
    [
      "an index without a map",
      { "model.safetensors.index.json": Buffer.from("{}"), "a.safetensors": bytes(10, 1) },
      "HUB_INDEX",
    ],
    ["a file outside of it", { "../../../evil.json": bytes(10, 1), "a.safetensors": bytes(10, 1) }, "HUB_RESPONSE"],
  ])("a repository with %s is refused", async (_, files, code) => {
    hub.repositories["models/org/bad"] = files as Record<string, Buffer>;
    await expect(resolveModel("org/bad", hub.options(folder))).rejects.toMatchObject({ code });
    expect(readdirSync(root).sort()).not.toContain("evil.json");
  });
});

describe("offline", () => {
  test("the cache serves what it holds whole, without any request", async () => {
    hub.repositories["models/org/moe"] = sharded();
    const online = await resolveModel("org/moe", hub.options(folder));
    hub.received = [];
    const options = hub.options(folder, { HF_HUB_OFFLINE: "1" });
    expect(await resolveModel("org/moe", options)).toEqual(online);
    expect((await resolveModel(`org/moe@${COMMIT}`, options)).folder).toBe(online.folder);
    expect(hub.received).toEqual([]);
    rmSync(join(online.folder, "model-00002-of-00002.safetensors"));
    await expect(resolveModel("org/moe", options)).rejects.toMatchObject({
      code: "HUB_INCOMPLETE",
      message: expect.stringMatching("model-00002-of-00002.safetensors"),
    });
  });

  test("what it does not hold is named", async () => {
    const options = hub.options(folder, { HF_HUB_OFFLINE: "1" });
    await expect(resolveModel("org/moe", options)).rejects.toMatchObject({
      code: "HUB_OFFLINE",
      message: expect.stringMatching(/org\/moe@main.*no folder "org\/moe"/),
    });
    expect(hub.received).toEqual([]);
  });
});

describe("a local path", () => {
  test("wins over the hub", async () => {
    mkdirSync(join(folder, "org/moe"), { recursive: true });
    const path = join(folder, "org/moe");
    expect(await resolveModel(path, hub.options(folder))).toEqual({ folder: path });
    expect(hub.received).toEqual([]);
  });

  test("a text that is neither a folder nor an id says so", async () => {
    writeFileSync(join(folder, "file"), "");
    for (const text of [join(folder, "absent"), "./absent", "absent", "a/b/c", join(folder, "file")]) {
      await expect(resolveModel(text, hub.options(folder))).rejects.toMatchObject({
        code: "MODEL_NOT_FOUND",
        message: expect.stringMatching(/folder.*nor a hub id/),
      });
    }
  });

  test("an id that the hub does not have says that there is no folder either", async () => {
    await expect(resolveModel("org/absent", hub.options(folder))).rejects.toMatchObject({
      code: "HUB_NOT_FOUND",
      message: expect.stringMatching(/no folder "org\/absent" here either/),
    });
  });
});
