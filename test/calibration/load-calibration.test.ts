import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import { type CalibrationEvent, loadCalibration } from "../../src/calibration/load-calibration.js";
import { calibrationOptions } from "../../src/calibration/options.js";
import { loadTokenizer } from "../../src/calibration/tokenizer.js";
import { Random } from "../../src/random.js";
import { useFakeHub } from "../hub/fake-hub.js";
import { temporaryFolder } from "./folder.js";

const root = temporaryFolder();
const hub = useFakeHub();
const model = join(import.meta.dirname, "../../demo/model");
const words = "the cat and a dog run over three red hills while two old ships sail home".split(" ");

/** Texts of `first`, then random words: distinct ones that tell their domain. */
function texts(first: string, count: number, length: number, seed = 1): string[] {
  const random = new Random(seed);
  return Array.from({ length: count }, (_, i) =>
    [first, i, ...Array.from({ length }, () => words[random.below(words.length)])].join(" "),
  );
}

function write(name: string, records: unknown[]): string {
  writeFileSync(join(root, name), records.map((record) => JSON.stringify(record)).join("\n"));
  return join(root, name);
}

const general = write(
  "general.jsonl",
  texts("general", 300, 60).map((text) => ({ text })),
);
const math = write(
  "math.jsonl",
  texts("math", 300, 60).map((solution) => ({ solution })),
);
const code = write(
  "code.jsonl",
  texts("code", 300, 60).map((content) => ({ content })),
);
const domain = [`general=${general}`, `math=${math}`, `code=${code}`];

const load = (options: Record<string, unknown>, context: { onEvent?: (event: CalibrationEvent) => void } = {}) =>
  loadCalibration(calibrationOptions.parse({ sequences: 40, length: 32, ...options }), {
    model,
    vocabularySize: 1024,
    hub: hub.options(root),
    ...context,
  });

describe("loadCalibration", () => {
  test("mixes domains by their shares", async () => {
    const events: CalibrationEvent[] = [];
    const set = await load(
      { domain, mix: "general=0.2,math=0.5,code=0.3" },
      { onEvent: (event) => events.push(event) },
    );
    expect(set).toMatchObject({ sequences: 40, length: 32, notes: [] });
    expect(set.domains).toEqual([
      { name: "general", ratio: 0.2, sequences: 8, tokens: 256, source: general },
      { name: "math", ratio: 0.5, sequences: 20, tokens: 640, source: math },
      { name: "code", ratio: 0.3, sequences: 12, tokens: 384, source: code },
    ]);
    expect(set.mask.every((value) => value === 1)).toBe(true);
    expect([0, 1, 2].map((index) => set.domainOfSequence.filter((value) => value === index).length)).toEqual([
      8, 20, 12,
    ]);
    expect(events.at(-1)).toEqual({ type: "calibration", domain: "code", sequences: 12, wanted: 12 });
  });

  test("every sequence is text of its domain", async () => {
    const set = await load({ domain, packing: "padded" });
    const tokenizer = await loadTokenizer(model);
    const starts = ["general", "math", "code"].map((name) => tokenizer.encode(name));
    for (const [sequence, index] of set.domainOfSequence.entries()) {
      const ids = [...set.ids.subarray(sequence * set.length, (sequence + 1) * set.length)];
      expect(ids.slice(0, starts[index]!.length)).toEqual(starts[index]);
    }
  });

  test("the same input gives the same digest, another seed another one", async () => {
    const digest = async (options: object) => (await load({ domain, ...options })).digest;
    const first = await digest({});
    expect(await digest({})).toBe(first);
    expect(await digest({ seed: 43 })).not.toBe(first);
    expect(await digest({ length: 33 })).not.toBe(first);
    // The form of the files does not matter, the text does.
    const lines = readFileSync(general);
    writeFileSync(join(root, "general.jsonl.gz"), gzipSync(lines));
    expect(await digest({ domain: [`general=${general}.gz`, ...domain.slice(1)] })).toBe(first);
  });

  test("more sequences of the same seed begin with the same text", async () => {
    const [few, many] = [await load({ domain, sequences: 30 }), await load({ domain, sequences: 60 })];
    expect(many.ids.subarray(0, few.ids.length)).toEqual(few.ids);
  });

  test("too little text shrinks all domains alike and says so", async () => {
    const short = write(
      "short.jsonl",
      texts("math", 5, 60).map((text) => ({ text })),
    );
    const set = await load({
      domain: [`general=${general}`, `math=${short}`],
      mix: "general=0.75,math=0.25",
      packing: "padded",
    });
    expect(set.domains.map(({ sequences }) => sequences)).toEqual([15, 5]);
    expect(set.notes).toEqual([
      "math holds 5 sequences; 10 were asked for.",
      "All domains shrink alike, so that the mix holds: 20 sequences in place of 40.",
    ]);
  });

  test("empty, repeated and short documents are counted", async () => {
    const long = texts("x", 10, 60);
    const mixed = write(
      "mixed.jsonl",
      [...long, long[0], "", "a short one"].map((text) => ({ text })),
    );
    const set = await load({ domain: [`general=${mixed}`], sequences: 11, packing: "padded" });
    expect(set.sequences).toBe(11);
    expect(set.domains[0]!.tokens).toBeLessThan(11 * 32);
    expect(set.notes).toEqual([
      "general: documents that are empty and were left out: 1.",
      "general: documents that appear again and were left out: 1.",
      "general: sequences less than 0.9 full, for want of longer documents: 1.",
    ]);
    const padding = [...set.ids].filter((_, index) => set.mask[index] === 0);
    expect(new Set(padding)).toEqual(new Set([0]));
  });

  test("conversations go through the model's chat template", async () => {
    const chats = texts("hello", 40, 40).map((content) => ({ messages: [{ role: "user", content }] }));
    const set = await load({ domain: [`general=${write("chats.jsonl", chats)}`], sequences: 5, packing: "padded" });
    for (let sequence = 0; sequence < 5; sequence++) expect(set.ids[sequence * 32]).toBe(2);
    expect(set.notes).toEqual(["general: documents that were written by the model's chat template: 5."]);
  });

  test("a named field wins, and --tokens needs no text", async () => {
    const records = texts("good", 40, 40).map((body) => ({ text: "bad", body }));
    const set = await load({ domain: [`a=${write("body.jsonl", records)}`], field: ["a=body"], sequences: 5 });
    expect(set.domains).toMatchObject([{ name: "a", ratio: 1, sequences: 5 }]);
    const tokens = join(import.meta.dirname, "../goldens/absent.safetensors");
    await expect(load({ tokens })).rejects.toMatchObject({ code: expect.stringMatching(/^FILE_/) });
  });

  test("an interruption ends it", async () => {
    const controller = new AbortController();
    const options = calibrationOptions.parse({ domain: [`a=${general}`], sequences: 200, length: 32 });
    const hubOptions = { ...hub.options(root), signal: controller.signal };
    const result = loadCalibration(options, { model, hub: hubOptions, onEvent: () => controller.abort() });
    await expect(result).rejects.toMatchObject({ name: "AbortError" });
  });

  test.each([
    [{ domain: ["general"] }, "CALIBRATION_OPTIONS", /not NAME=VALUE/],
    [{ domain: [domain[0]!, domain[0]!] }, "CALIBRATION_OPTIONS", /second time/],
    [{ domain, mix: "general=0.5,other=0.5" }, "CALIBRATION_OPTIONS", /math, which is not in the mix/],
    [{ mix: "poetry" }, "CALIBRATION_OPTIONS", /poetry has no source/],
    [{ domain, field: ["poetry=text"] }, "CALIBRATION_OPTIONS", /poetry, which is not in the mix/],
    [{ domain, mix: "general=0.5,math=0.4,code=0.2" }, "CALIBRATION_MIX", /sum to 1\.1/],
    [{ domain: [`general=${root}/absent.jsonl`] }, "CALIBRATION_SOURCE", /neither a file/],
    [{ domain, tokenizer: root }, "TOKENIZER_MISSING", /tokenizer\.json/],
    [{ domain: [`a=${write("none.jsonl", [])}`] }, "CALIBRATION_EMPTY", /no sequences/],
    [{ domain: [`a=${write("tiny.jsonl", [{ text: "a" }])}`] }, "CALIBRATION_EMPTY", /no sequences of 32 tokens/],
    [{ domain, field: ["code=label"] }, "CALIBRATION_FIELD", /no field "label"/],
  ])("refuses %j", async (options, code, message) => {
    await expect(load(options)).rejects.toMatchObject({ code, message: expect.stringMatching(message) });
  });
});

describe("the sources of the paper", () => {
  const json = (records: unknown[]) => Buffer.from(records.map((record) => JSON.stringify(record)).join("\n"));
  const stack = (language: string) => json(texts(language, 30, 60).map((content) => ({ content, lang: language })));
  // More documents than are held at a time, so that the second file is not needed.
  const publish = () =>
    Object.assign(hub.repositories, {
      "datasets/allenai/c4": {
        "en/c4-validation.00000-of-00008.json.gz": gzipSync(
          json(texts("web", 16_400, 20).map((text) => ({ text, url: "x" }))),
        ),
        "en/c4-validation.00001-of-00008.json.gz": Buffer.from("never read"),
        "en/c4-train.00000-of-01024.json.gz": Buffer.from("never read"),
      },
      "datasets/AI-MO/NuminaMath-1.5": {
        "data/train-00000-of-00001.parquet": readFileSync(join(import.meta.dirname, "fixtures/solutions.zstd.parquet")),
      },
      "datasets/bigcode/the-stack-smol": {
        "data/python/data.json": stack("python"),
        "data/rust/data.json": stack("rust"),
        "data/java/data.json": stack("java"),
      },
    });

  test("are found on the hub, and as little as possible is downloaded", async () => {
    publish();
    const set = await load({ mix: "general=0.5,code=0.5", sequences: 20 });
    expect(set.domains.map(({ sequences }) => sequences)).toEqual([10, 10]);
    expect(set.domains[0]!.source).toMatch(/^c4 \(hf:\/\/datasets\/allenai\/c4@[0-9a-f]{40}\)$/);
    const files = hub.received
      .filter(({ host, url }) => host === "hub" && url.includes("/resolve/"))
      .map(({ url }) => url);
    expect(files.map((url) => url.split("/").slice(-2).join("/"))).toEqual([
      "en/c4-validation.00000-of-00008.json.gz",
      "python/data.json",
      "java/data.json",
    ]);
  });

  test("of NuminaMath only the sources without benchmark questions are used", async () => {
    publish();
    const set = await load({ mix: "math", length: 16, sequences: 100, packing: "padded", minFill: 0 });
    // Every second of ten rows is from cn_k12, and all of those are longer than 0.9 * 16 characters.
    expect(set.sequences).toBe(5);
  });
});
