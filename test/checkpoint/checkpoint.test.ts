import { mkdir, symlink } from "node:fs/promises";
import { join } from "node:path";
import { expect, it } from "vitest";
import { Checkpoint } from "../../src/checkpoint/checkpoint.js";
import { encodeSafetensors } from "../../src/checkpoint/safetensors-encode.js";
import { expectCode, safetensorsBytes, temporaryFolder, writeFiles } from "./support.js";

const tensor = (...values: number[]) =>
  ({ dtype: "U8", shape: [values.length], data: Uint8Array.from(values) }) as const;
const shard = (tensors: Record<string, number[]>, metadata = {}) =>
  encodeSafetensors(new Map(Object.entries(tensors).map(([name, values]) => [name, tensor(...values)])), metadata);
const index = (weight_map: Record<string, string>, metadata: object = { total_size: 5 }) => ({ metadata, weight_map });
const INDEX = "model.safetensors.index.json";

/** A folder of two shards with tensors a, b (2 bytes each) and c (1 byte), with changes. */
async function sharded(changes: Record<string, string | Uint8Array | object> = {}): Promise<string> {
  const folder = await temporaryFolder();
  await writeFiles(folder, {
    "config.json": { model_type: "x" },
    [INDEX]: index({ a: "1.safetensors", b: "1.safetensors", c: "2.safetensors" }),
    "1.safetensors": shard({ a: [1, 2], b: [3, 4] }, { format: "pt" }),
    "2.safetensors": shard({ c: [5] }, { format: "pt", more: "x" }),
    ...changes,
  });
  return folder;
}

const code = async (expected: string, changes: Parameters<typeof sharded>[0]) => {
  const folder = await sharded(changes);
  return expectCode(expected, () => Checkpoint.open(folder));
};

it("opens a sharded checkpoint", async () => {
  const checkpoint = await Checkpoint.open(await sharded());
  expect([...checkpoint.tensors.values()].map(({ name, file, bytes }) => [name, file, bytes])).toEqual([
    ["a", "1.safetensors", 2],
    ["b", "1.safetensors", 2],
    ["c", "2.safetensors", 1],
  ]);
  expect(checkpoint.warnings).toEqual([]);
  expect(Object.fromEntries(checkpoint.metadata)).toEqual({ format: "pt", more: "x" });
  expect(checkpoint.has("c")).toBe(true);
  expect(checkpoint.has("constructor")).toBe(false);
  expect(await checkpoint.read("b")).toEqual(tensor(3, 4));
  expect(await checkpoint.readRows("b", 1, 2)).toEqual(tensor(4));
  for await (const chunk of checkpoint.chunks("c")) expect([...chunk]).toEqual([5]);
  await expectCode("TENSOR_MISSING", () => checkpoint.read("d"));
  checkpoint.expectShape("a", [2]);
  const error = await expectCode("TENSOR_SHAPE", () => checkpoint.expectShape("a", [2, 1]));
  expect(error.message).toContain("[2], expected [2, 1]");
  await checkpoint.close();
});

it("opens a single file, with BOM, CRLF and NaN in config.json", async () => {
  const folder = await temporaryFolder();
  await writeFiles(folder, { "config.json": '\ufeff{\r\n"x": NaN}\r\n', "model.safetensors": shard({ a: [7] }) });
  const checkpoint = await Checkpoint.open(folder);
  expect(checkpoint.config.x).toBeNaN();
  expect(checkpoint.configText).toBe('{\r\n"x": NaN}\r\n');
  expect(await checkpoint.read("a")).toEqual(tensor(7));
  await checkpoint.close();
});

it("lists the other files, but no weights, hidden files, or links out of the folder", async () => {
  const folder = await sharded({
    "tokenizer.json": "",
    "README.md": "",
    ".gitattributes": "",
    "pytorch_model.bin": "",
    "pytorch_model.bin.index.json": "",
  });
  await mkdir(join(folder, "templates"));
  await mkdir(join(folder, "original"));
  await writeFiles(folder, { "templates/a.jinja": "", "original/x.pth": "", "original/params.json": "" });
  await symlink("tokenizer.json", join(folder, "link.json"));
  await symlink("/etc/hostname", join(folder, "outer.json"));
  const checkpoint = await Checkpoint.open(folder);
  expect(checkpoint.files).toEqual(["README.md", "link.json", "templates/a.jinja", "tokenizer.json"]);
  expect(checkpoint.warnings).toEqual([expect.stringContaining("outer.json")]);
  await checkpoint.close();
});

it("warns of a wrong total size and of files that are not in the index", async () => {
  for (const total of [4, "5", null, { a: 1 }, 2 ** 60]) {
    const map = { a: "1.safetensors", b: "1.safetensors", c: "2.safetensors" };
    const checkpoint = await Checkpoint.open(
      await sharded({ [INDEX]: index(map, { total_size: total }), "3.safetensors": "" }),
    );
    expect(checkpoint.warnings).toEqual([
      expect.stringContaining("total_size"),
      expect.stringContaining("3.safetensors"),
    ]);
    await checkpoint.close();
  }
});

it("refuses what is missing", async () => {
  const folder = await temporaryFolder();
  await expectCode("CHECKPOINT_MISSING", () => Checkpoint.open(join(folder, "none")));
  await expectCode("CONFIG_MISSING", () => Checkpoint.open(folder));
  await writeFiles(folder, { "config.json": {} });
  await expectCode("WEIGHTS_MISSING", () => Checkpoint.open(folder));
  await writeFiles(folder, { "1.safetensors": shard({}) });
  await expectCode("WEIGHTS_MISSING", () => Checkpoint.open(folder));
  await writeFiles(folder, { "2.safetensors": shard({}) });
  await expectCode("INDEX_MISSING", () => Checkpoint.open(folder));
});

it("refuses an index and files that contradict each other", async () => {
  const map = { a: "1.safetensors", b: "1.safetensors", c: "2.safetensors" };
  const missing = await code("SHARD_MISSING", { [INDEX]: index({ ...map, d: "3.safetensors" }) });
  expect(missing.message).toContain("3.safetensors");
  await code("INDEX_MISMATCH", { [INDEX]: index({ ...map, d: "2.safetensors" }) });
  await code("INDEX_MISMATCH", { [INDEX]: index({ a: "1.safetensors", c: "2.safetensors" }) });
  await code("INDEX_MISMATCH", { "2.safetensors": shard({ c: [5], a: [1, 2] }) });
  await code("FILE_MISSING", { [INDEX]: index({ ...map, d: "sub/3.safetensors" }) });
  await code("FILE_NAME", { [INDEX]: index({ ...map, d: "../3.safetensors" }) });
  await code("SAFETENSORS_LENGTH", { "2.safetensors": "" });
  await code("SAFETENSORS_OFFSETS", {
    "2.safetensors": safetensorsBytes({ c: { dtype: "U8", shape: [1], data_offsets: [1, 2] } }, 2),
  });
});

it("refuses a shard that is a folder or a link out of the folder", async () => {
  const folder = await sharded();
  await writeFiles(folder, { [INDEX]: index({ a: "1.safetensors", b: "1.safetensors", c: "sub" }) });
  await mkdir(join(folder, "sub"));
  await expectCode("SHARD_MISSING", () => Checkpoint.open(folder));
  const outside = await temporaryFolder();
  await writeFiles(outside, { "3.safetensors": shard({ c: [5] }) });
  await symlink(join(outside, "3.safetensors"), join(folder, "3.safetensors"));
  await writeFiles(folder, { [INDEX]: index({ a: "1.safetensors", b: "1.safetensors", c: "3.safetensors" }) });
  await expectCode("FILE_OUTSIDE", () => Checkpoint.open(folder));
});

it.each([
  ["a list", "CONFIG_VALUE", "[]"],
  ["nothing", "JSON_SYNTAX", ""],
  ["a torn text", "JSON_SYNTAX", '{"a":'],
  ["a comment", "JSON_SYNTAX", "{} // x"],
  ["a duplicate key", "JSON_DUPLICATE_KEY", '{"num_experts":1,"num_experts":2}'],
  ["deep nesting", "JSON_DEPTH", `{"a":${"[".repeat(100_000)}`],
  ["more than 10 MB", "CONFIG_SIZE", `{"a":"${"x".repeat(10_000_000)}"}`],
])("refuses a config.json with %s: %s", async (_, expected, text) => {
  await code(expected, { "config.json": text });
});

it("reads a config.json with hostile values without harm", async () => {
  const text = '{"__proto__":{"polluted":true},"constructor":1,"huge":1e999,"auto_map":{"AutoModel":"evil.Model"}}';
  const checkpoint = await Checkpoint.open(await sharded({ "config.json": text }));
  expect(checkpoint.config.polluted).toBeUndefined();
  expect(checkpoint.config.huge).toBe(Infinity);
  await checkpoint.close();
});
