import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { Checkpoint } from "../../../src/checkpoint/checkpoint.js";
import { encodeSafetensors } from "../../../src/checkpoint/safetensors-encode.js";
import { createNativeBackend } from "../../../src/engine/native/native-backend.js";
import { isMoe } from "../../../src/model/description.js";
import { codingOf } from "../../../src/model/expert-coding.js";
import { compress } from "../../../src/pipeline/compress.js";
import { openModel } from "../../../src/pipeline/open-model.js";
import type { CompressOptions } from "../../../src/pipeline/options.js";
import { Random } from "../../../src/random.js";
import { firstOutputs, lost } from "../../support/first-outputs.js";
import { folderDigest } from "../../support/folder-digest.js";
import { GOLDENS } from "../../support/goldens.js";
import { writeQuantised } from "../../support/quantised-model.js";
import { writeSyntheticModel } from "../../support/synthetic-model.js";

const folder = mkdtempSync(join(tmpdir(), "ream-stored-refit-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const backend = createNativeBackend({ precision: "f32", threads: 2 });
const [sequences, length] = [96, 16];

function writeTokens(vocabulary: number) {
  const random = new Random(3);
  const ids = Int32Array.from({ length: sequences * length }, () => random.below(vocabulary));
  const path = join(folder, `tokens-${vocabulary}.safetensors`);
  const tensor = { dtype: "I32" as const, shape: [sequences, length], data: new Uint8Array(ids.buffer) };
  writeFileSync(path, encodeSafetensors(new Map([["input_ids", tensor]])));
  return { tokens: path, ids };
}

async function sourceOf(name: string): Promise<{ model: string; vocabulary: number; experts: number }> {
  if (name === "gpt_oss-mxfp4")
    return { model: join(GOLDENS, "forward", name), vocabulary: await vocabularyOf(name), experts: 6 };
  const own = join(folder, name);
  const sizes = { layers: 2, hidden: 128, width: 128, experts: 8, topK: 2, vocabulary: 50 };
  writeSyntheticModel(join(own, "source"), sizes);
  await writeQuantised(join(own, "source"), own, name, backend);
  return { model: join(own, "quantised"), vocabulary: 50, experts: 6 };
}

async function vocabularyOf(family: string): Promise<number> {
  const { checkpoint, model } = await openModel(join(GOLDENS, "forward", family));
  await checkpoint.close();
  return model.vocabularySize;
}

async function make(out: string, options: CompressOptions, signal?: AbortSignal) {
  const events: string[] = [];
  for await (const { type } of compress({ precision: "f32", threads: 2, ...options, out }, signal)) events.push(type);
  return JSON.parse(readFileSync(join(out, "ream.json"), "utf8"));
}

describe.each(["int4-g32", "fp8-deepseek", "mxfp4", "awq", "gpt_oss-mxfp4"])("%s", (name) => {
  test("refitted experts have the form of the source again, and the layer loses less", async () => {
    const { model, vocabulary, experts } = await sourceOf(name);
    const { tokens, ids } = writeTokens(vocabulary);
    const common = { model, tokens, experts, method: "reap" } as const;
    const [plain, refitted] = [join(folder, `${name}-plain`), join(folder, `${name}-refitted`)];
    await make(plain, common);
    const { reconstruct } = await make(refitted, { ...common, reconstruct: "all" });
    for (const { kept, rounds, before, after } of reconstruct.layers) {
      expect(after.heldOut).toBeLessThanOrEqual(before.heldOut);
      const parts = rounds?.map(({ part }: { part: string }) => part).join();
      if (kept) expect(["all,stored", "all,stored,down", "down"]).toContain(parts);
    }
    const [first] = reconstruct.layers;
    expect(first.kept).toBe(true);
    expect(first.after.heldOut).toBe(first.rounds.at(-1).heldOut);
    const wanted = await firstOutputs(model, ids, length);
    const [before, after] = [await firstOutputs(plain, ids, length), await firstOutputs(refitted, ids, length)];
    expect(lost(after, wanted)).toBeLessThan(0.98 * lost(before, wanted));

    const [one, other] = [await Checkpoint.open(plain), await Checkpoint.open(refitted)];
    expect([...other.tensors.values()].map(({ name, dtype, shape }) => [name, dtype, shape])).toEqual(
      [...one.tensors.values()].map(({ name, dtype, shape }) => [name, dtype, shape]),
    );
    const configOf = (path: string) => JSON.parse(readFileSync(join(path, "config.json"), "utf8"));
    expect(configOf(refitted)).toEqual(configOf(plain));
    await Promise.all([one.close(), other.close()]);
  });
});

test("down projections make up for what rounding the others lost", async () => {
  const { model, vocabulary, experts } = await sourceOf("int4-channel");
  const { tokens } = writeTokens(vocabulary);
  const options = { model, tokens, experts, method: "reap", reconstruct: "all" } as const;
  for (const precision of ["bf16", "f32"] as const) {
    const { reconstruct } = await make(join(folder, `made-up-${precision}`), { ...options, precision });
    const [, stored, down] = reconstruct.layers[0].rounds;
    expect(stored).toMatchObject({ part: "stored", experts });
    expect(down.part).toBe("down");
    expect(down.heldOut).toBeLessThan(stored.heldOut);
  }
});

test("where gates and up projections are not refitted they keep their bytes", async () => {
  const { model, vocabulary, experts } = await sourceOf("gptq");
  const { tokens } = writeTokens(vocabulary);
  const out = join(folder, "down-alone");
  const options = { model, tokens, experts, method: "reap", reconstruct: "down" } as const;
  const { plan, reconstruct } = await make(out, options);
  expect(reconstruct.layers[0].rounds.map(({ part }: { part: string }) => part)).toEqual(["down"]);
  const [before, after] = [await Checkpoint.open(model), await Checkpoint.open(out)];
  const prefix = "model.layers.0.mlp.experts";
  let changed = 0;
  for (const [slot, expert] of plan.layers[0].keptExperts.entries()) {
    for (const part of ["gate_proj", "up_proj", "down_proj"]) {
      for (const suffix of ["qweight", "scales", "qzeros"]) {
        const own = (await after.read(`${prefix}.${slot}.${part}.${suffix}`)).data;
        const same = Buffer.compare(own, (await before.read(`${prefix}.${expert}.${part}.${suffix}`)).data) === 0;
        if (part !== "down_proj") expect(same, `${slot} ${part} ${suffix}`).toBe(true);
        else if (!same) changed++;
      }
    }
  }
  expect(changed).toBeGreaterThan(0);
  await Promise.all([before.close(), after.close()]);
});

test("merged experts alone are refitted: the others keep their bytes", async () => {
  const { model, vocabulary, experts } = await sourceOf("fp8-deepseek-ue8m0");
  const { tokens } = writeTokens(vocabulary);
  const out = join(folder, "merged-alone");
  const options = {
    model,
    tokens,
    experts,
    method: "ream",
    reconstruct: "down",
    reconstructExperts: "merged",
  } as const;
  const { plan } = await make(out, options);
  const [before, after] = [await openModel(model), await openModel(out)];
  const layer = before.model.layers.find(isMoe)!;
  const now = after.model.layers.filter(isMoe).find(({ index }) => index === layer.index)!;
  const [old, own] = [layer, now].map(({ feedForward }, i) =>
    codingOf([before, after][i]!.checkpoint, feedForward.experts),
  );
  const planned = plan.layers[0];
  let alone = 0;
  for (const [slot, expert] of planned.keptExperts.entries()) {
    if (planned.groups.find(({ members }: { members: number[] }) => members[0] === expert).members.length > 1) continue;
    alone++;
    expect(await own!.read(after.checkpoint, slot)).toEqual(await old!.read(before.checkpoint, expert));
  }
  expect(alone).toBeGreaterThan(0);
  await Promise.all([before.checkpoint.close(), after.checkpoint.close()]);
});

test("an interrupted run goes on with the layers that are refitted, to the same bytes", async () => {
  const { model, vocabulary, experts } = await sourceOf("nvfp4");
  const { tokens } = writeTokens(vocabulary);
  const options = { model, tokens, experts, method: "ream", reconstruct: "all" } as const;
  const [whole, resumed] = [join(folder, "whole"), join(folder, "resumed")];
  await make(whole, options);
  const running = compress({ precision: "f32", threads: 2, ...options, out: resumed });
  for (let step = await running.next(); !step.done; step = await running.next())
    if (step.value.type === "reconstruct") break;
  await running.return(undefined as never);
  await make(resumed, options);
  expect(folderDigest(resumed)["model.safetensors"]).toBe(folderDigest(whole)["model.safetensors"]);
});
