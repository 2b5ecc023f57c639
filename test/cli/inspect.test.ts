import { readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { type Inspection, inspect } from "../../src/pipeline/inspect.js";
import { GOLDENS } from "../support/goldens.js";
import { ream, temporaryFolder } from "./ream.js";

const model = join(GOLDENS, "ream/qwen3_moe/model");
const sharded = join(GOLDENS, "forward/qwen3_moe");
const folder = temporaryFolder();

test("says what a checkpoint is and where its bytes are", async () => {
  const found = await inspect(sharded);
  const config = JSON.parse(readFileSync(join(sharded, "config.json"), "utf8"));
  expect(found).toMatchObject({
    family: "qwen3_moe",
    layers: config.num_hidden_layers,
    experts: config.num_experts,
    topK: config.num_experts_per_tok,
    hiddenSize: config.hidden_size,
    files: 2,
  });
  expect(Object.values(found.where).reduce((a, b) => a + b)).toBe(found.bytes);
  expect(Object.values(found.dtypes).reduce((a, b) => a + b)).toBe(found.bytes);
  expect(found.bytes).toBe(2 * found.parameters);
  const expert = 3 * 2 * config.moe_intermediate_size * config.hidden_size;
  expect(found.where.routedExperts).toBe(found.moeLayers * config.num_experts * expert);
  const inLayers = found.perLayer.reduce((sum, layer) => sum + layer.bytes, 0);
  expect(inLayers + found.where.embeddings + 2 * config.hidden_size).toBe(found.bytes);
});

test("the memory estimate is the sum of its parts and grows with the tokens", async () => {
  const small = (await inspect(model, { sequences: 8, length: 16 })).memory;
  const large = (await inspect(model, { sequences: 80, length: 16 })).memory;
  const { sequences: _, length: __, bytes, ...parts } = small;
  expect(bytes).toBe(Object.values(parts).reduce((sum, part) => sum + part, 0));
  expect(large.hiddenStates).toBe(10 * small.hiddenStates);
});

test("sizes with fewer experts are those that are written", async () => {
  const out = join(folder, "out");
  const tokens = join(GOLDENS, "ream/qwen3_moe/calibration.safetensors");
  const options = ["--experts", "12", "--method", "reap", "--tokens", tokens, "--backend", "reference"];
  expect((await ream(["compress", model, ...options, "--out", out])).status).toBe(0);
  const written = await inspect(out);
  const predicted = (await inspect(model)).compressed.find(({ experts }) => experts === 12)!;
  expect(written.bytes).toBe(predicted.bytes);
  // The header is all that a file holds besides its tensors.
  expect(statSync(join(out, "model.safetensors")).size).toBeGreaterThan(predicted.bytes);
});

test("prints text, or JSON with --json", async () => {
  const text = await ream(["inspect", sharded, "--layers"]);
  expect(text.stdout).toMatch(/^ {2}routed experts +393 kB +68 %$/m);
  expect(text.stdout).toMatch(/^ {2}12 experts +-25 % +237,\d{3} parameters +475 kB +83 %$/m);
  expect(text.stdout).toMatch(/^ {2}2 +moe /m);
  expect(text.stdout).toMatch(/^ {2}layers +3: 2 with experts, 1 dense; 3 attention$/m);
  expect(text.stdout).toMatch(/^ {2}router +softmax, the best 4 experts, weights normalised$/m);
  expect(text.stdout).toContain("expected.safetensors is not part of the model");
  expect(text.stderr).toBe("");
  const json = JSON.parse((await ream(["inspect", sharded, "--json"])).stdout) as Inspection;
  expect(json).toEqual(JSON.parse(JSON.stringify(await inspect(sharded))));
});

test("a folder without a model", async () => {
  const run = await ream(["inspect", folder]);
  expect(run.stderr).toContain("CONFIG_MISSING");
  expect(run.status).toBe(1);
});
