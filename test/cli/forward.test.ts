import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { encodeSafetensors } from "../../src/checkpoint/safetensors-encode.js";
import { GOLDENS, largestDifference, readJson, readTensors } from "../support/goldens.js";
import { ream, temporaryFolder } from "./ream.js";

const folder = temporaryFolder();
const golden = (name: string) => join(GOLDENS, "forward", name);
const model = golden("qwen3_moe");
const engine = ["--precision", "f32", "--backend", "reference"];

interface Expected {
  generation: { prompt: number[]; generated: number[] };
}

describe.each(["qwen3_moe", "qwen3_moe-tied-yarn"])("ream forward on %s", (name) => {
  test("writes the tensors of the reference data", async () => {
    const out = join(folder, `${name}.safetensors`);
    const ids = join(golden(name), "expected.safetensors");
    const run = await ream(["forward", golden(name), "--ids", ids, "--out", out, ...engine]);
    expect(run.status).toBe(0);
    const [ours, expected] = [await readTensors(out), await readTensors(ids)];
    expect([...ours.keys()].sort()).toEqual([...expected.keys()].sort());
    for (const [tensor, { shape, values }] of expected) {
      expect(ours.get(tensor)!.shape).toEqual(shape);
      const exact = tensor.endsWith(".selected") || tensor.startsWith("input_ids");
      expect(largestDifference(ours.get(tensor)!.values, values)).toBeLessThanOrEqual(exact ? 0 : 2e-4);
    }
  });

  test("generates its tokens, from --prompt and from --ids", async () => {
    const { prompt, generated } = readJson<Expected>(join(golden(name), "expected.json")).generation;
    const count = String(generated.length);
    const one = await ream([
      "forward",
      golden(name),
      "--prompt",
      prompt.join(),
      "--generate",
      count,
      "--json",
      ...engine,
    ]);
    expect(JSON.parse(one.stdout).generated).toEqual([generated]);
    const file = join(folder, "prompts.json");
    writeFileSync(file, JSON.stringify([prompt, [...prompt].reverse()]));
    const both = await ream(["forward", golden(name), "--ids", file, "--generate", count, ...engine]);
    expect(both.stdout.split("\n")[0]).toBe(generated.join());
    expect(both.stdout.split("\n")).toHaveLength(3);
  });
});

test("padding is hidden from the tokens", async () => {
  const int32 = (shape: number[], values: number[]) => {
    return { dtype: "I32" as const, shape, data: new Uint8Array(Int32Array.from(values).buffer) };
  };
  const logits = async (name: string, tensors: Parameters<typeof encodeSafetensors>[0]) => {
    const [ids, out] = [join(folder, `${name}-ids.safetensors`), join(folder, `${name}-out.safetensors`)];
    writeFileSync(ids, encodeSafetensors(tensors));
    expect((await ream(["forward", model, "--ids", ids, "--out", out, ...engine])).status).toBe(0);
    return Array.from((await readTensors(out)).get("logits")!.values);
  };
  const plain = await logits("plain", new Map([["input_ids", int32([1, 4], [5, 6, 7, 8])]]));
  const mask = int32([1, 6], [1, 1, 1, 1, 0, 0]);
  const padded = await logits(
    "padded",
    new Map([
      ["input_ids", int32([1, 6], [5, 6, 7, 8, 0, 0])],
      ["attention_mask", mask],
    ]),
  );
  expect(largestDifference(padded.slice(0, plain.length), plain)).toBeLessThan(1e-5);
});

describe("refusals of ream forward", () => {
  const json = (name: string, value: unknown) => {
    const file = join(folder, `${name}.json`);
    writeFileSync(file, JSON.stringify(value));
    return file;
  };
  const out = join(folder, "none.safetensors");

  test.each<[string, () => string[], number, string]>([
    ["no tokens", () => ["--out", out], 2, "OPTION_MISSING"],
    ["nothing to do", () => ["--ids", json("ids", [1, 2])], 2, "OPTION_MISSING"],
    ["a prompt that is no list", () => ["--prompt", "1,x", "--generate", "2"], 2, "Give token ids"],
    ["ids outside the vocabulary", () => ["--ids", json("range", [1, 99_999]), "--out", out], 1, "TOKEN_RANGE"],
    ["ids that are no ids", () => ["--ids", json("text", ["a"]), "--out", out], 1, "IDS_INVALID"],
    ["rows of different lengths", () => ["--ids", json("rows", [[1, 2], [3]]), "--out", out], 1, "IDS_INVALID"],
    ["no ids at all", () => ["--ids", json("empty", []), "--out", out], 1, "IDS_INVALID"],
    ["an object without ids", () => ["--ids", json("object", { ids: [1] }), "--out", out], 1, "IDS_INVALID"],
    ["a file that is not there", () => ["--ids", join(folder, "nowhere"), "--out", out], 1, "IDS_INVALID"],
    [
      "safetensors without ids",
      () => ["--ids", join(model, "model-00001-of-00002.safetensors"), "--out", out],
      1,
      "IDS_INVALID",
    ],
    [
      "more than fits",
      () => ["--ids", json("many", new Array(1_000_000).fill(1)), "--out", out],
      1,
      "FORWARD_TOO_LARGE",
    ],
  ])("%s", async (_, args, status, text) => {
    const run = await ream(["forward", model, ...args(), ...engine]);
    expect(run.stderr).toContain(text);
    expect(run.stderr).not.toMatch(/^\s+at /m);
    expect(run.status).toBe(status);
    expect(() => readFileSync(out)).toThrow("ENOENT");
  });
});
