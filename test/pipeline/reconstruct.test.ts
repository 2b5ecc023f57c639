import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { Checkpoint } from "../../src/checkpoint/checkpoint.js";
import { encodeSafetensors } from "../../src/checkpoint/safetensors-encode.js";
import { describeModel } from "../../src/model/describe.js";
import { isMoe, type ModelDescription } from "../../src/model/description.js";
import { expertCounts } from "../../src/model/router.js";
import { compress } from "../../src/pipeline/compress.js";
import type { CompressOptions } from "../../src/pipeline/options.js";
import { checkRefit } from "../../src/pipeline/reconstruct/refit-plan.js";
import { Random } from "../../src/random.js";
import { ream } from "../support/command.js";
import { firstOutputs, lost } from "../support/first-outputs.js";
import { folderDigest } from "../support/folder-digest.js";
import { GOLDENS } from "../support/goldens.js";

const folder = mkdtempSync(join(tmpdir(), "ream-reconstruct-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
let runs = 0;

async function make(options: CompressOptions): Promise<string> {
  const out = join(folder, `${++runs}`);
  const events = compress({ precision: "f32", outputDtype: "f32", ...options, out });
  while (!(await events.next()).done);
  return out;
}

const manifestOf = (out: string) => JSON.parse(readFileSync(join(out, "ream.json"), "utf8"));

/** Random tokens `[192, 24]`, some of them padding. */
function writeTokens(vocabulary: number): { readonly path: string; readonly ids: Int32Array } {
  const random = new Random(5);
  const [sequences, length] = [192, 24];
  const ids = Int32Array.from({ length: sequences * length }, () => random.below(vocabulary));
  const mask = Int32Array.from(ids, (_, i) => (i % length < 20 || i % 5 > 0 ? 1 : 0));
  const path = join(folder, `tokens-${vocabulary}.safetensors`);
  const tensor = (values: Int32Array) => ({
    ...{ dtype: "I32" as const, shape: [sequences, length] },
    data: new Uint8Array(values.buffer),
  });
  writeFileSync(
    path,
    encodeSafetensors(
      new Map([
        ["input_ids", tensor(ids)],
        ["attention_mask", tensor(mask)],
      ]),
    ),
  );
  return { path, ids };
}

// Separate and stacked experts, sigmoids with selection bias and scaling, shared experts, biases, weights that scale inputs,
// other activations.
const FAMILIES = ["olmoe", "qwen3_5_moe", "deepseek_v3", "qwen2_moe", "gpt_oss", "llama4_text"];
const CLAMPED = new Set(["gpt_oss"]);
/** With so few tokens, no other up projections are better for it. */
const UP_STAYS = new Set(["llama4_text"]);

test.each(FAMILIES)("%s: the refitted block is nearer to the original", async (family) => {
  const model = join(GOLDENS, "forward", family);
  const checkpoint = await Checkpoint.open(model);
  const { vocabularySize, layers, experts } = describeModel(checkpoint.config, checkpoint);
  const { step, least } = expertCounts(layers.find(isMoe)!.feedForward.router);
  const kept = Math.max(least, experts - step * Math.max(1, Math.floor(experts / 3 / step)));
  await checkpoint.close();
  const { path: tokens, ids } = writeTokens(vocabularySize);
  const common = { model, tokens, experts: kept, method: "reap" } as const;
  const [plain, refitted] = [await make(common), await make({ ...common, reconstruct: "down" })];
  const { reconstruct } = manifestOf(refitted);
  expect(reconstruct).toMatchObject({ parts: "down", ridge: "auto" });
  const first = reconstruct.layers[0];
  expect(first.kept).toBe(true);
  expect(first.after.heldOut).toBeLessThan(first.before.heldOut);
  const wanted = await firstOutputs(model, ids, 24);
  const [before, after] = [await firstOutputs(plain, ids, 24), await firstOutputs(refitted, ids, 24)];
  expect(lost(after, wanted)).toBeLessThan(0.98 * lost(before, wanted));
  const all = await make({ ...common, reconstruct: "all" });
  const [descended] = manifestOf(all).reconstruct.layers;
  expect(descended.rounds[0]).toMatchObject({ part: "all", experts: kept, epochs: 4 });
  expect(descended.after.heldOut).toBe(descended.rounds[0].heldOut);
  expect(lost(await firstOutputs(all, ids, 24), wanted)).toBeLessThan(0.98 * lost(before, wanted));
  if (CLAMPED.has(family)) {
    await expect(make({ ...common, reconstruct: "down+up" })).rejects.toThrow(/clamped/);
    return;
  }
  const both = await make({ ...common, reconstruct: "down+up" });
  const { rounds, ...own } = manifestOf(both).reconstruct.layers[0];
  expect(rounds.some(({ part }: { part: string }) => part === "up")).toBe(!UP_STAYS.has(family));
  const errors = [own.before.heldOut, ...rounds.map(({ heldOut }: { heldOut: number }) => heldOut)];
  for (const [i, error] of errors.entries()) if (i > 0) expect(error).toBeLessThan(errors[i - 1]!);
  expect(errors.at(-1)).toBe(own.after.heldOut);
  const most = UP_STAYS.has(family) ? 1.0001 : 1;
  expect(lost(await firstOutputs(both, ids, 24), wanted)).toBeLessThan(most * lost(after, wanted));
});

test("experts without gates have no up projections to refit", () => {
  const feedForward = { kind: "moe", activation: "relu", experts: { parts: ["up", "down"] } };
  const model = { layers: [{ feedForward }] } as unknown as ModelDescription;
  const plan = { experts: "all", epochs: 1, ridge: undefined, tokens: undefined, random: 0, seed: 0 } as const;
  expect(() => checkRefit({ ...plan, parts: "down+up" }, model)).toThrow(/no gates/);
  expect(() => checkRefit({ ...plan, parts: "down" }, model)).not.toThrow();
});

describe("a small model", () => {
  const source = join(GOLDENS, "ream/qwen3_moe");
  const model = join(source, "model");
  const tokens = join(source, "calibration.safetensors");

  test.each(["down", "down+up", "all"] as const)(
    "without a dropped expert nothing changes: %s",
    async (reconstruct) => {
      const out = await make({ model, tokens, experts: 16, method: "reap", reconstruct, outputDtype: "same" });
      expect(manifestOf(out).reconstruct.layers).toEqual([
        { layer: 0, kept: false },
        { layer: 1, kept: false },
      ]);
      const digest = (path: string) => folderDigest(path)["model.safetensors"];
      expect(digest(out)).toBe(digest(model));
    },
  );

  test.each([{ reconstruct: "down+up", ridge: 1 }, { reconstruct: "all" }] as const)(
    "both backends lose as much, before and after: %j",
    async (refit) => {
      const options = { model, tokens, experts: 12, method: "reap", ...refit } as const;
      const [native, reference] = [
        manifestOf(await make({ ...options, backend: "native" })),
        manifestOf(await make({ ...options, backend: "reference" })),
      ];
      expect(native.reconstruct.layers.some(({ kept }: { kept: boolean }) => kept)).toBe(true);
      for (const [i, { kept, before, after }] of native.reconstruct.layers.entries()) {
        const other = reference.reconstruct.layers[i];
        expect(kept).toBe(other.kept);
        expect(Math.abs(before.heldOut / other.before.heldOut - 1)).toBeLessThan(1e-3);
        if (kept) expect(Math.abs(after.heldOut / other.after.heldOut - 1)).toBeLessThan(1e-3);
      }
    },
  );

  test.each([
    ["down", /\.experts\.\d+\.down_proj/],
    ["down+up", /\.experts\.\d+\.(down|up)_proj/],
    ["all", /\.experts\.\d+\.(down|up|gate)_proj/],
  ] as const)(
    "only %s projections differ from the merged experts, and a given plan gives the same",
    async (reconstruct, refittedNames) => {
      const dry = compress({
        model,
        tokens,
        precision: "f32",
        experts: 12,
        method: "reap",
        dryRun: true,
        reconstruct,
      });
      let step = await dry.next();
      while (!step.done) step = await dry.next();
      const plan = join(folder, `plan-${reconstruct}.json`);
      writeFileSync(plan, JSON.stringify({ plan: step.value.plan }));
      const [given, own, bare] = [
        await make({ model, tokens, plan, reconstruct }),
        await make({ model, tokens, experts: 12, method: "reap", reconstruct }),
        await make({ model, plan }),
      ];
      const weights = (path: string) => folderDigest(path)["model.safetensors"];
      expect(weights(given)).toBe(weights(own));
      const [refitted, merged] = [await Checkpoint.open(given), await Checkpoint.open(bare)];
      const changed: string[] = [];
      for (const name of merged.tensors.keys()) {
        if (!Buffer.from((await refitted.read(name)).data).equals((await merged.read(name)).data)) changed.push(name);
      }
      expect(changed.filter((name) => !refittedNames.test(name))).toEqual([]);
      expect(changed.some((name) => name.includes("up_proj"))).toBe(reconstruct !== "down");
      expect(changed.some((name) => name.includes("gate_proj"))).toBe(reconstruct === "all");
      expect(changed.some((name) => name.includes("down_proj"))).toBe(true);
      await Promise.all([refitted.close(), merged.close()]);
    },
  );

  test("refits alone look at random tokens", async () => {
    const own = { model, tokens, experts: 12, method: "reap", outputDtype: "same" } as const;
    // Steps look at inputs too.
    const steps = { then: ["wanda:0.5"], parts: ["attention"] };
    const outs = await Promise.all(
      [0, 0.5].map((reconstructRandom) => make({ ...own, ...steps, reconstruct: "all", reconstructRandom })),
    );
    const [without, having] = outs.map(manifestOf);
    expect([without.reconstruct.random, having.reconstruct.random]).toEqual([0, 0.5]);
    const [fit, more] = [without, having].map(({ reconstruct }) => reconstruct.layers[0].tokens);
    // Whole sequences: as many as half of the text's tokens.
    const { sequences, length } = without.calibration;
    expect(more).toEqual({ fitted: fit.fitted + Math.ceil(sequences / 2) * length, heldOut: fit.heldOut });
    expect(having.plan.layers[0]).toEqual(without.plan.layers[0]);
    const [one, two] = await Promise.all(outs.map((out) => Checkpoint.open(out)));
    const equal = async (name: string) =>
      Buffer.from((await one!.read(name)).data).equals((await two!.read(name)).data);
    expect(await equal("model.layers.0.self_attn.q_proj.weight")).toBe(true);
    expect(await equal("model.layers.0.mlp.experts.0.up_proj.weight")).toBe(false);
    await Promise.all([one!.close(), two!.close()]);
  });

  test("merged experts alone are refitted, where that is asked for", async () => {
    const common = { model, tokens, experts: 12, outputDtype: "same" } as const;
    const refit = { reconstruct: "down+up", reconstructExperts: "merged" } as const;
    const [plain, refitted] = [
      await make({ ...common, method: "ream" }),
      await make({ ...common, ...refit, method: "ream" }),
    ];
    const { plan, reconstruct } = manifestOf(refitted);
    expect(reconstruct).toMatchObject({ parts: "down+up", experts: "merged" });
    const [before, after] = [await Checkpoint.open(plain), await Checkpoint.open(refitted)];
    // Later layers are merged on what the first has become.
    const { keptExperts, groups } = plan.layers[0];
    const changed = new Set<number>();
    for (const name of before.tensors.keys()) {
      const expert = /layers\.0\.mlp\.experts\.(\d+)\./.exec(name)?.[1];
      if (expert === undefined) continue;
      if (!Buffer.from((await after.read(name)).data).equals((await before.read(name)).data)) changed.add(+expert);
    }
    await Promise.all([before.close(), after.close()]);
    const merged = keptExperts.flatMap((kept: number, slot: number) => {
      const { weights } = groups.find(({ members }: { members: number[] }) => members[0] === kept);
      return weights.slice(1).some((weight: number) => weight > 0) ? [slot] : [];
    });
    expect(merged.length).toBeGreaterThan(0);
    expect(merged.length).toBeLessThan(12);
    expect([...changed].sort((a, b) => a - b)).toEqual(merged);
    // Pruned layers have none.
    const pruned = await make({ ...common, ...refit, method: "reap" });
    expect(manifestOf(pruned).reconstruct.layers).toEqual([
      { layer: 0, kept: false },
      { layer: 1, kept: false },
    ]);
  });

  test.each(["int4-channel", "gptq:int4-channel", "wanda:0.5"])(
    "%s: down projections make up for what happens to gates and up projections afterwards",
    async (step) => {
      const { vocab_size } = JSON.parse(readFileSync(join(model, "config.json"), "utf8"));
      const { path: tokens, ids } = writeTokens(vocab_size);
      const own = { model, tokens, experts: 12, method: "reap", reconstruct: "all" } as const;
      const together = await make({ ...own, then: [step], outputDtype: "same" });
      const [first] = manifestOf(together).reconstruct.layers;
      const parts = first.rounds.map(({ part }: { part: string }) => part);
      expect(parts).toEqual(["all", "then", "down"]);
      expect(first.after.heldOut).toBeLessThan(first.rounds[1].heldOut);
      const refitted = await make({ ...own, outputDtype: "same" });
      const apart = await make({ model: refitted, tokens, then: [step], outputDtype: "same" });
      const wanted = await firstOutputs(model, ids, 24);
      const [one, two] = [await firstOutputs(together, ids, 24), await firstOutputs(apart, ids, 24)];
      expect(lost(one, wanted)).toBeLessThan(lost(two, wanted));
    },
  );

  test("weights are quantised after the refit", async () => {
    const out = await make({
      model,
      tokens,
      experts: 12,
      method: "reap",
      reconstruct: "down",
      then: ["int8"],
      outputDtype: "same",
    });
    const { reconstruct, then } = manifestOf(out);
    expect(then).toEqual(["int8"]);
    expect(reconstruct.layers.some(({ kept }: { kept: boolean }) => kept)).toBe(true);
  });

  test.each([
    [{ reconstruct: "down", sequential: false, experts: 12 }, /layers before/],
    [{ reconstruct: "down", observed: "nowhere", experts: 12 }, /calibration text/],
    [{ method: "reap", ridge: 0.1, experts: 12 }, /none is/],
    [{ ridge: 0.1, experts: 12 }, /no ridge/],
    [{ reconstruct: "all", ridge: 0.1, experts: 12 }, /no ridge/],
    [{ reconstruct: "down", reconstructEpochs: 2, experts: 12 }, /epochs/],
    [{ method: "ream", reconstructExperts: "merged", experts: 12 }, /--reconstruct-experts/],
    [{ method: "ream", reconstructRandom: 0.1, experts: 12 }, /--reconstruct-random/],
  ] as const)("%j is refused", async (options, message) => {
    const failed = make({ model, tokens, ...options });
    await expect(failed).rejects.toMatchObject({ code: "SETTINGS_CONFLICT" });
    await expect(failed).rejects.toThrow(message);
  });

  test.each(["down+up", "all"])(
    "killed at random moments and run again, %s gives the same bytes",
    async (parts) => {
      const command = (out: string) => [
        ...["compress", model, "--out", out, "--experts", "12", "--method", "ream", "--tokens", tokens],
        ...[
          "--guard",
          "--reconstruct",
          parts,
          "--then",
          "wanda:0.5",
          "--backend",
          "native",
          "--shards",
          "layer",
          "--json",
        ],
      ];
      const began = performance.now();
      expect((await ream(command(join(folder, `whole-${parts}`)))).stderr).not.toContain("Error");
      const duration = performance.now() - began;
      const expected = folderDigest(join(folder, `whole-${parts}`));
      const random = new Random(11);
      let kills = 0;
      for (let round = 0; kills < 6; round++) {
        const out = join(folder, `killed-${parts}-${round}`);
        while (!existsSync(out)) {
          const { signal } = await ream(command(out), { kill: duration * (0.3 + 0.75 * random.next()) });
          if (signal === "SIGKILL") kills++;
        }
        expect(folderDigest(out)).toEqual(expected);
      }
    },
    300_000,
  );
});
