import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { Checkpoint } from "../../src/checkpoint/checkpoint.js";
import { encodeSafetensors } from "../../src/checkpoint/safetensors-encode.js";
import { METHOD_NAMES } from "../../src/compress/settings.js";
import { type CompressResult, compress } from "../../src/pipeline/compress.js";
import type { CompressOptions } from "../../src/pipeline/options.js";
import { Random } from "../../src/random.js";
import { writeSyntheticModel } from "../support/synthetic-model.js";

const sizes = { layers: 2, hidden: 32, width: 8, experts: 8, topK: 2, vocabulary: 64 };
let folder: string;
let base: CompressOptions;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "ream-edge-"));
  writeSyntheticModel(join(folder, "model"), sizes);
  writeTokens(() => 1);
  const tokens = join(folder, "tokens.safetensors");
  base = { model: join(folder, "model"), out: join(folder, "out"), tokens, experts: 4, backend: "reference" };
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** 6 sequences of 8 random tokens; `mask` tells which positions are tokens, the others hold `padding`. */
function writeTokens(mask: (position: number) => number, padding = 0) {
  const random = new Random(3);
  const integers = (value: (i: number) => number) => ({
    dtype: "I32" as const,
    shape: [6, 8],
    data: new Uint8Array(Int32Array.from({ length: 48 }, (_, i) => value(i)).buffer),
  });
  const tensors = new Map([
    [
      "input_ids",
      integers((i) => {
        const id = random.below(sizes.vocabulary);
        return mask(i % 8) === 1 ? id : padding;
      }),
    ],
    ["attention_mask", integers((i) => mask(i % 8))],
  ]);
  writeFileSync(join(folder, "tokens.safetensors"), encodeSafetensors(tensors));
}

async function run(changes: Partial<CompressOptions> = {}): Promise<CompressResult> {
  const events = compress({ ...base, ...changes });
  let step = await events.next();
  while (!step.done) step = await events.next();
  return step.value;
}

const code = (name: string) => expect.objectContaining({ code: name }) as Error;

/** Overwrites every value of a tensor with the given bits of a bfloat16. */
async function fill(tensorName: string, value: number) {
  const checkpoint = await Checkpoint.open(join(folder, "model"));
  const info = checkpoint.info(tensorName);
  const path = join(folder, "model", info.file);
  const content = readFileSync(path);
  const header = Number(content.readBigUInt64LE(0));
  const entry = JSON.parse(content.subarray(8, 8 + header).toString())[tensorName] as {
    data_offsets: [number, number];
  };
  for (let at = entry.data_offsets[0]; at < entry.data_offsets[1]; at += 2)
    content.writeUInt16LE(value, 8 + header + at);
  await checkpoint.close();
  writeFileSync(path, content);
}

describe("numbers of experts", () => {
  test.each(METHOD_NAMES)("%s keeps as many as asked, down to top-k", async (method) => {
    const { plan } = await run({ method, experts: 2, groupSize: method === "m-smoe" ? 0 : 8 });
    for (const layer of plan.layers) expect(layer.keptExperts).toHaveLength(2);
  });

  test("all experts: nothing changes", async () => {
    const { plan, bytes } = await run({ experts: 8 });
    expect(bytes.after).toBe(bytes.before);
    expect(plan.layers[0]!.keptExperts).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
    const [before, after] = [await Checkpoint.open(base.model), await Checkpoint.open(base.out!)];
    for (const name of before.tensors.keys()) {
      expect(Buffer.from((await after.read(name)).data).equals((await before.read(name)).data)).toBe(true);
    }
    await Promise.all([before.close(), after.close()]);
  });

  test.each([
    [{ experts: 1 }, "EXPERTS_RANGE"],
    [{ experts: 9 }, "EXPERTS_RANGE"],
    [{ experts: undefined }, "OPTION_MISSING"],
    [{ out: undefined }, "OPTION_MISSING"],
    [{ experts: 2, groupSize: 3 }, "GROUP_ROOM"],
    [{ samples: 0 }, "OPTION_INVALID"],
    [{ grupSize: 3 } as object, "OPTION_INVALID"],
    [{ outputSimilarity: "none", gateSimilarity: "none" }, "SETTINGS_CONFLICT"],
  ] as [Partial<CompressOptions>, string][])("%j is refused as %s", async (changes, expected) => {
    await expect(run(changes)).rejects.toThrow(code(expected));
  });
});

describe("damaged weights are an error, not a result", () => {
  const everyMethod = METHOD_NAMES.flatMap((method) => [
    [method, "model.layers.0.mlp.gate.weight"],
    [method, "model.layers.0.self_attn.v_proj.weight"],
  ]);
  test.each([
    ...everyMethod,
    ["ream", "model.layers.1.mlp.experts.3.down_proj.weight"],
    ["ream-paper", "model.layers.1.mlp.experts.3.down_proj.weight"],
  ] as [(typeof METHOD_NAMES)[number], string][])("%s: NaN in %s", async (method, name) => {
    await fill(name, 0x7fc0);
    await expect(run({ method })).rejects.toThrow(code("NOT_FINITE"));
  });

  test("also where no statistic shows it", async () => {
    // No token uses the last experts, and a plain mean looks at no weight before it is made.
    await fill("model.layers.1.mlp.gate.weight", 0);
    await fill("model.layers.1.mlp.experts.7.up_proj.weight", 0x7fc0);
    await expect(run({ outputSimilarity: "none", merging: "mean" })).rejects.toThrow(code("NOT_FINITE"));
  });

  test("a weight that float16 cannot hold", async () => {
    await fill("model.layers.1.self_attn.o_proj.weight", 0x4800);
    await fill("model.norm.weight", 0x4800);
    await expect(run({ outputDtype: "f16" })).rejects.toThrow(code("DTYPE_RANGE"));
  });
});

describe("statistics of unusual layers", () => {
  test("experts that are all equal join by index", async () => {
    await fill("model.layers.0.mlp.gate.weight", 0);
    for (let e = 0; e < 8; e++) {
      for (const part of ["gate_proj", "up_proj", "down_proj"])
        await fill(`model.layers.0.mlp.experts.${e}.${part}.weight`, 0x3c23);
    }
    const { plan } = await run({ groupSize: 2 });
    expect(plan.layers[0]!.groups.map(({ members }) => members)).toEqual([
      [0, 4],
      [1, 5],
      [2, 6],
      [3, 7],
    ]);
  });

  test("a router without a preference uses the first experts alone; the others have saliency 0 and are absorbed", async () => {
    await fill("model.layers.0.mlp.gate.weight", 0);
    const { plan } = await run({ experts: 4 });
    expect(plan.layers[0]!.keptExperts.slice(0, 2)).toEqual([0, 1]);
    for (const { weights } of plan.layers[0]!.groups) expect(weights.reduce((a, b) => a + b)).toBeCloseTo(1, 12);
  });
});

describe("padding", () => {
  /** Plan of a calibration whose last tokens are padding with the given id. */
  async function planWithPadding(padding: number, method: CompressOptions["method"]) {
    writeTokens((position) => (position < 5 ? 1 : 0), padding);
    return (await run({ dryRun: true, method })).plan.layers;
  }

  test("does not count in exact sums, whatever token fills it", async () => {
    expect(await planWithPadding(0, "ream")).toEqual(await planWithPadding(63, "ream"));
  });

  test("counts in the official code's means", async () => {
    expect(await planWithPadding(0, "ream-official")).not.toEqual(await planWithPadding(63, "ream-official"));
  });
});

describe("plans", () => {
  test.each(["ream", "ream-official", "reap"] as const)(
    "an applied plan of %s gives the same tensors as the run that made it",
    async (method) => {
      const made = await run({ method });
      const file = join(folder, "plan.json");
      writeFileSync(file, JSON.stringify(made));
      await run({ plan: file, tokens: undefined, experts: undefined, out: join(folder, "applied") });
      await expect(run({ plan: file, experts: 5, out: join(folder, "five") })).rejects.toThrow(code("EXPERTS_RANGE"));
      const [direct, applied] = [await Checkpoint.open(base.out!), await Checkpoint.open(join(folder, "applied"))];
      expect([...applied.tensors.keys()]).toEqual([...direct.tensors.keys()]);
      for (const name of direct.tensors.keys()) {
        expect(Buffer.from((await applied.read(name)).data).equals((await direct.read(name)).data)).toBe(true);
      }
      await Promise.all([direct.close(), applied.close()]);
    },
  );
});

test("recorded tokens that do not fit are refused", async () => {
  const file = join(folder, "sampled.safetensors");
  const indices = {
    dtype: "I32" as const,
    shape: [1, 8, 4],
    data: new Uint8Array(Int32Array.from({ length: 32 }, () => 48).buffer),
  };
  writeFileSync(file, encodeSafetensors(new Map([0, 1].map((l) => [`layers.${l}.sampled_tokens`, indices] as const))));
  await expect(run({ sampledTokens: file, method: "ream-official" })).rejects.toThrow(code("SAMPLED_TOKENS"));
});

test("an aborted run stops and leaves what can be continued", async () => {
  const controller = new AbortController();
  const events = compress(base, controller.signal);
  const work = (async () => {
    for await (const event of events) if (event.type === "layer") controller.abort();
  })();
  await expect(work).rejects.toThrow(/abort/i);
  expect(readFileSync(`${base.out}.partial/.ream/journal.jsonl`, "utf8").trim().split("\n")).toHaveLength(1);
  const { plan } = await run();
  expect(plan.layers).toHaveLength(2);
});

test("an output that exists is refused before anything is read", async () => {
  await run();
  await expect(run({ model: join(folder, "none") })).rejects.toThrow(code("OUTPUT_EXISTS"));
});

test("a journal that was tampered with is not gone on from", async () => {
  const controller = new AbortController();
  const events = compress(base, controller.signal);
  await expect(async () => {
    for await (const event of events) if (event.type === "layer") controller.abort();
  }).rejects.toThrow(/abort/i);
  for (const line of [
    "null",
    '{"plan":null}',
    '{"requantised":[{"layer":-1}]}',
    '{"plan":{"layer":0,"keptExperts":[0],"groups":[]}}',
  ]) {
    writeFileSync(`${base.out}.partial/.ream/journal.jsonl`, `${line}\n`);
    await expect(run()).rejects.toThrow(code("JOURNAL_DAMAGED"));
  }
});
