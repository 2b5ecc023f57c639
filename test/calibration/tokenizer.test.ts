import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { loadTokenizer } from "../../src/calibration/tokenizer.js";
import { temporaryFolder } from "./folder.js";

const demo = join(import.meta.dirname, "../../demo/model");
const root = temporaryFolder();
const definition = JSON.parse(readFileSync(join(demo, "tokenizer.json"), "utf8"));

let folders = 0;
function folderWith(files: Record<string, string>): string {
  const folder = join(root, String(folders++));
  mkdirSync(folder);
  for (const [name, content] of Object.entries(files)) writeFileSync(join(folder, name), content);
  return folder;
}

describe("loadTokenizer", () => {
  test("encodes with the special tokens of the text and none around it", async () => {
    const tokenizer = await loadTokenizer(demo, 1024);
    const ids = tokenizer.encode("<|im_start|>user\nhi<|im_end|>");
    expect([ids[0], ids.at(-1)]).toEqual([2, 1]);
    expect(tokenizer).toMatchObject({ prefix: [], suffix: [], pad: 0, eosToken: "<|im_end|>", bosToken: "" });
  });

  test("documents end with the end-of-text token, not with the one that ends a turn", async () => {
    expect((await loadTokenizer(demo)).endOfText).toBe(0);
  });

  test("finds what the tokenizer puts around a text", async () => {
    const token = (content: string, id: number) => ({ [content]: { id: content, ids: [id], tokens: [content] } });
    const postProcessor = {
      type: "TemplateProcessing",
      single: [
        { SpecialToken: { id: "<|im_start|>" } },
        { Sequence: { id: "A" } },
        { SpecialToken: { id: "<|im_end|>" } },
      ],
      pair: [{ Sequence: { id: "A" } }, { Sequence: { id: "B" } }],
      special_tokens: { ...token("<|im_start|>", 2), ...token("<|im_end|>", 1) },
    };
    const folder = folderWith({ "tokenizer.json": JSON.stringify({ ...definition, post_processor: postProcessor }) });
    expect(await loadTokenizer(folder)).toMatchObject({ prefix: [2], suffix: [1] });
  });

  test("works without tokenizer_config.json and with a byte order mark", async () => {
    const tokenizer = await loadTokenizer(folderWith({ "tokenizer.json": `\ufeff${JSON.stringify(definition)}` }));
    expect(tokenizer).toMatchObject({ endOfText: 0, pad: 0, eosToken: "" });
  });

  test("special tokens may be objects", async () => {
    const config = JSON.stringify({ eos_token: { content: "<|im_end|>" }, pad_token: { content: "<|im_start|>" } });
    const folder = folderWith({ "tokenizer.json": JSON.stringify(definition), "tokenizer_config.json": config });
    expect(await loadTokenizer(folder)).toMatchObject({ eosToken: "<|im_end|>", pad: 2 });
  });

  test("a token beyond the model's vocabulary is an error that names it", async () => {
    const tokenizer = await loadTokenizer(demo, 900);
    expect(tokenizer.encode("a").length).toBe(1);
    expect(() => tokenizer.encode(" there")).toThrow(expect.objectContaining({ code: "TOKENIZER_VOCABULARY" }));
    expect(() => tokenizer.encode(" there")).toThrow(/outside the model's vocabulary of 900/);
  });

  test.each([
    ["absent", {}, "TOKENIZER_MISSING"],
    ["not JSON", { "tokenizer.json": "{" }, "TOKENIZER_INVALID"],
    ["an array", { "tokenizer.json": "[]" }, "TOKENIZER_INVALID"],
    ["without a model", { "tokenizer.json": "{}" }, "TOKENIZER_INVALID"],
    [
      "of an unknown kind",
      { "tokenizer.json": JSON.stringify({ ...definition, model: { type: "Quantum" } }) },
      "TOKENIZER_INVALID",
    ],
    [
      "with a broken configuration",
      { "tokenizer.json": JSON.stringify(definition), "tokenizer_config.json": "nul" },
      "TOKENIZER_INVALID",
    ],
  ])("a tokenizer that is %s is named", async (_, files, code) => {
    await expect(loadTokenizer(folderWith(files as Record<string, string>))).rejects.toMatchObject({ code });
  });
});
