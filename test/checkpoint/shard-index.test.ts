import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { buildIndex } from "../../src/checkpoint/output.js";
import { parseShardIndex, readShardIndex } from "../../src/checkpoint/shard-index.js";
import { ReamError } from "../../src/errors.js";
import { expectCode, temporaryFolder } from "./support.js";

const parse = (text: string | Uint8Array) => parseShardIndex([Buffer.from(text)]);

describe("parseShardIndex", () => {
  it("reads the map and the total size and ignores everything else", async () => {
    const index = await parse(
      '{"metadata":{"total_size":12,"x":{"weight_map":{"z":"z"},"total_size":1}},"more":[{"weight_map":{"y":"y"}}],"weight_map":{"a":"1.safetensors","__proto__":"2.safetensors"}}',
    );
    expect([...index.files]).toEqual([
      ["a", "1.safetensors"],
      ["__proto__", "2.safetensors"],
    ]);
    expect(index.totalSize).toBe(12);
  });

  it("reads what was written, cut into any chunks", async () => {
    const names = fc.uniqueArray(fc.string({ unit: "grapheme" }), { maxLength: 20 });
    await fc.assert(
      fc.asyncProperty(names, fc.integer({ min: 1, max: 40 }), async (tensors, size) => {
        const all = tensors.map(
          (name, i) => ({ name, dtype: "BF16", shape: [i, 3], file: `model-${i % 3}.safetensors` }) as const,
        );
        const bytes = Buffer.from(buildIndex(all));
        const chunks = Array.from({ length: Math.ceil(bytes.length / size) }, (_, i) =>
          bytes.subarray(i * size, (i + 1) * size),
        );
        const index = await parseShardIndex(chunks);
        expect(new Map(index.files)).toEqual(new Map(all.map(({ name, file }) => [name, file])));
        expect(index.totalSize).toBe(tensors.reduce((sum, _, i) => sum + 6 * i, 0));
      }),
      { numRuns: 50 },
    );
  });

  it("reads 500,000 entries", async () => {
    const lines = Array.from(
      { length: 500_000 },
      (_, i) => `"model.layers.${i % 90}.mlp.experts.${i}.down_proj.weight":"model-${i % 200}.safetensors"`,
    );
    const { files } = await parse(`{"weight_map":{${lines.join()}}}`);
    expect(files.size).toBe(500_000);
    expect(files.get("model.layers.1.mlp.experts.1.down_proj.weight")).toBe("model-1.safetensors");
  });

  it.each([
    "../x.safetensors",
    "a/../../x.safetensors",
    "/etc/x.safetensors",
    "C:\\x.safetensors",
    "C:x.safetensors",
    "a\\..\\x.safetensors",
    "\\\\host\\x.safetensors",
    "http://host/x.safetensors",
    "x.safetensors\u0000.txt",
    "x\n.safetensors",
    "",
    ".",
    "..",
    "a//x.safetensors",
    "x/",
    "x".repeat(1025),
  ])("refuses the file name %j", async (name) => {
    const error = await expectCode("FILE_NAME", () => parse(JSON.stringify({ weight_map: { a: name } })));
    expect(error.where).toContain('weight_map "a"');
  });

  it.each([
    ["a list", "INDEX_INVALID", "[]"],
    ["a number", "INDEX_INVALID", "3"],
    ["no map", "INDEX_INVALID", '{"metadata":{}}'],
    ["a map in another place", "INDEX_INVALID", '{"metadata":{"weight_map":{"a":"b"}}}'],
    ["a map that is a list", "INDEX_INVALID", '{"weight_map":["a"]}'],
    ["a map that is null", "INDEX_INVALID", '{"weight_map":null}'],
    ["a file that is a number", "INDEX_INVALID", '{"weight_map":{"a":1}}'],
    ["a file that is an object", "INDEX_INVALID", '{"weight_map":{"a":{}}}'],
    ["a duplicate tensor", "JSON_DUPLICATE_KEY", '{"weight_map":{"a":"b","a":"b"}}'],
    ["a second map", "JSON_DUPLICATE_KEY", '{"weight_map":{"a":"b"},"weight_map":{}}'],
    ["a torn text", "JSON_SYNTAX", '{"weight_map":{"a":"b"'],
    ["a torn string", "JSON_SYNTAX", '{"weight_map":{"a":"b'],
    ["nothing", "JSON_SYNTAX", ""],
    ["a trailing comma", "JSON_SYNTAX", '{"weight_map":{"a":"b",}}'],
    ["something behind it", "JSON_SYNTAX", '{"weight_map":{"a":"b"}} x'],
    ["deep nesting", "JSON_DEPTH", `{"metadata":${"[".repeat(1000)}`],
    ["an endless name", "JSON_LIMIT", `{"weight_map":{"${"x".repeat(3_000_000)}`],
    [
      "too many files",
      "INDEX_INVALID",
      `{"weight_map":{${Array.from({ length: 10_001 }, (_, i) => `"${i}":"${i}"`)}}}`,
    ],
  ])("refuses %s with %s", async (_, code, text) => {
    const bytes = Buffer.from(text);
    const chunks = Array.from({ length: Math.ceil(bytes.length / 65536) }, (_, i) =>
      bytes.subarray(i * 65536, (i + 1) * 65536),
    );
    await expectCode(code, () => parseShardIndex(chunks));
  });

  it("refuses bytes that are not UTF-8, also at the end", async () => {
    await expectCode("JSON_ENCODING", () => parse(Uint8Array.of(0x7b, 0xff)));
    await expectCode("JSON_ENCODING", () => parse(Uint8Array.of(0x7b, 0x7d, 0xe2, 0x82)));
  });

  it("gives an index or a ReamError for any bytes", async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array(), async (bytes) => {
        const error = await parse(bytes).catch((reason: unknown) => reason);
        expect(error).toBeInstanceOf(ReamError);
      }),
    );
  });
});

describe("readShardIndex", () => {
  it("reads a file", async () => {
    const path = join(await temporaryFolder(), "model.safetensors.index.json");
    await expectCode("FILE_MISSING", () => readShardIndex(path));
    await writeFile(path, '{"weight_map":{"a":"b"}}');
    expect([...(await readShardIndex(path)).files]).toEqual([["a", "b"]]);
  });
});

describe("buildIndex", () => {
  it("writes what transformers writes", () => {
    const tensors = [
      { name: "model.b", dtype: "F32", shape: [2, 3], file: "model-00002-of-00002.safetensors" },
      { name: "lm_head", dtype: "BF16", shape: [5], file: "model-00001-of-00002.safetensors" },
    ] as const;
    // json.dumps(index, indent=2, sort_keys=True) + "\n"
    expect(buildIndex(tensors)).toBe(`{
  "metadata": {
    "total_size": 34
  },
  "weight_map": {
    "lm_head": "model-00001-of-00002.safetensors",
    "model.b": "model-00002-of-00002.safetensors"
  }
}
`);
    expect(JSON.parse(buildIndex([]))).toEqual({ metadata: { total_size: 0 }, weight_map: {} });
  });
});
