import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { Checkpoint } from "../../src/checkpoint/checkpoint.js";
import { decode } from "../../src/checkpoint/dtypes.js";
import { compress } from "../../src/pipeline/compress.js";
import type { CompressOptions } from "../../src/pipeline/options.js";
import { GOLDENS, largestDifference } from "../support/goldens.js";

const folder = mkdtempSync(join(tmpdir(), "ream-written-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function run(options: CompressOptions): Promise<string> {
  const events = compress(options);
  for (let step = await events.next(); !step.done; ) step = await events.next();
  return options.out!;
}

describe("the written checkpoint, every tensor of it, equals the reference data", () => {
  const source = join(GOLDENS, "ream/qwen3_moe");
  const official = { method: "ream-official", groupSize: 4 } as const;
  const reap = { method: "reap", sequential: false, experts: 8 } as const;
  test.each([
    ["official/identity-small", { ...official, experts: 12 }],
    ["official/identity-large", { ...official, experts: 8 }],
    ["official/none-small", { ...official, experts: 12, merging: "none" }],
    ["paper/literal-small", { method: "ream-paper", groupSize: 3, experts: 12 }],
    ["reap/raw-large", { ...reap, gate: "scores" }],
    ["reap/renormalised-large", { ...reap, gate: "combined" }],
  ] as [string, Partial<CompressOptions>][])("%s", async (golden, options) => {
    const tokens = join(source, "calibration.safetensors");
    // The reference stores merged weights in float32, and pruned ones as they were.
    const outputDtype = golden.startsWith("reap") ? "same" : "f32";
    const common = {
      model: join(source, "model"),
      out: join(folder, golden),
      tokens,
      precision: "f32",
      outputDtype,
    } as const;
    const [written, expected] = [
      await Checkpoint.open(await run({ ...common, ...options })),
      await Checkpoint.open(join(source, golden)),
    ];
    expect([...written.tensors.keys()].sort()).toEqual([...expected.tensors.keys()].sort());
    expect(written.config.num_experts).toBe(expected.config.num_experts);
    for (const name of expected.tensors.keys()) {
      const [ours, theirs] = [await written.read(name), await expected.read(name)];
      expect(ours.shape, name).toEqual(theirs.shape);
      expect(ours.dtype, name).toBe(theirs.dtype);
      expect(largestDifference(decode(ours), decode(theirs)), name).toBeLessThan(2e-5);
    }
    await Promise.all([written.close(), expected.close()]);
  });
});

describe("models with dense layers, several shards or tied embeddings keep what is not routed", () => {
  test.each([
    ["qwen3_moe", {}],
    ["qwen3_moe", { sequential: false, shards: "layer" }],
    ["qwen3_moe-tied-yarn", {}],
    ["qwen3_moe-tied-yarn", { sequential: false, shards: "layer" }],
  ] as [string, Partial<CompressOptions>][])("%s %j", async (name, options) => {
    const model = join(GOLDENS, "forward", name);
    const tokens = join(GOLDENS, "ream/qwen3_moe/calibration.safetensors");
    const out = join(folder, `${name}-${JSON.stringify(options).length}`);
    const [before, after] = [
      await Checkpoint.open(model),
      await Checkpoint.open(await run({ model, out, tokens, experts: 6, ...options })),
    ];
    for (const [tensor, info] of before.tensors) {
      if (/\.mlp\.(experts|gate)\./.test(tensor)) continue;
      expect(after.info(tensor).dtype).toBe(info.dtype);
      expect(Buffer.from((await after.read(tensor)).data).equals((await before.read(tensor)).data), tensor).toBe(true);
    }
    const count = [...after.tensors.keys()].filter(
      (tensor) => tensor.endsWith("up_proj.weight") && tensor.includes("experts"),
    );
    expect(count).toHaveLength(2 * 6);
    expect(after.config.num_experts ?? after.config.num_local_experts).toBe(6);
    await Promise.all([before.close(), after.close()]);
  });
});
