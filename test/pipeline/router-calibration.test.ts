import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { Checkpoint } from "../../src/checkpoint/checkpoint.js";
import { encodeSafetensors } from "../../src/checkpoint/safetensors-encode.js";
import { describeModel } from "../../src/model/describe.js";
import { isMoe } from "../../src/model/description.js";
import { expertCounts, routerNames } from "../../src/model/router.js";
import { compress } from "../../src/pipeline/compress.js";
import type { CompressOptions } from "../../src/pipeline/options.js";
import { Random } from "../../src/random.js";
import { GOLDENS } from "../support/goldens.js";

const folder = mkdtempSync(join(tmpdir(), "ream-router-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
let runs = 0;

async function make(options: Partial<CompressOptions> & { model: string }): Promise<string> {
  const out = join(folder, `${++runs}`);
  const events = compress({ precision: "f32", groupSize: 0, method: "ream", ...options, out });
  while (!(await events.next()).done);
  return out;
}

interface FittedLayer {
  readonly layer: number;
  readonly kept: boolean;
  readonly biases?: boolean;
  readonly before: { readonly heldOut: number; readonly domains: Readonly<Record<string, number>> };
  readonly after?: FittedLayer["before"];
}

const fitsOf = (out: string): FittedLayer[] =>
  JSON.parse(readFileSync(join(out, "ream.json"), "utf8")).routerCalibration.layers;

function writeTokens(vocabulary: number): string {
  const random = new Random(5);
  const ids = Int32Array.from({ length: 128 * 24 }, () => random.below(vocabulary));
  const path = join(folder, `tokens-${vocabulary}.safetensors`);
  const tensor = { dtype: "I32" as const, shape: [128, 24], data: new Uint8Array(ids.buffer) };
  writeFileSync(path, encodeSafetensors(new Map([["input_ids", tensor]])));
  return path;
}

async function read(path: string): Promise<Map<string, string>> {
  const checkpoint = await Checkpoint.open(path);
  const found = new Map<string, string>();
  for (const name of checkpoint.tensors.keys()) {
    found.set(name, Buffer.from((await checkpoint.read(name)).data).toString("base64"));
  }
  await checkpoint.close();
  return found;
}

async function facts(model: string) {
  const checkpoint = await Checkpoint.open(model);
  const { vocabularySize, layers, experts } = describeModel(checkpoint.config, checkpoint);
  await checkpoint.close();
  const moe = layers.filter(isMoe);
  const { step, least } = expertCounts(moe[0]!.feedForward.router);
  const kept = Math.max(least, experts - step * Math.max(1, Math.floor(experts / 2 / step)));
  return { tokens: writeTokens(vocabularySize), kept, moe };
}

// Softmax and sigmoids, selection biases and groups, biases of routers, weights that scale inputs.
const FAMILIES = ["olmoe", "qwen3_moe", "deepseek_v3", "glm4_moe", "gpt_oss", "llama4_text"];

describe.each(FAMILIES)("%s", (family) => {
  test("only routers whose error fell are other ones, and only what says who is chosen", async () => {
    const model = join(GOLDENS, "forward", family);
    const { tokens, kept, moe } = await facts(model);
    const common = { model, tokens, experts: kept };
    const fitted = await make({ ...common, routerCalibration: "group-mass" });
    const fits = fitsOf(fitted);
    expect(fits.map(({ layer }) => layer)).toEqual(moe.map(({ index }) => index));
    for (const { kept: better, before, after } of fits) {
      if (better) expect(after!.heldOut).toBeLessThan(before.heldOut);
      for (const [domain, error] of Object.entries(after?.domains ?? {})) {
        expect(error).toBeLessThanOrEqual(before.domains[domain]! + 0.001);
      }
    }
    // Up to the first layer whose router changed, all else is what it is without.
    const plain = await read(await make(common));
    const first = fits.find(({ kept: better }) => better);
    const changed = moe.find(({ index }) => index === first?.layer);
    const names = changed === undefined ? [] : routerNames(changed.feedForward.router);
    const before = (name: string) =>
      changed === undefined || !moe.some((l) => l.index > changed.index && name.startsWith(l.prefix));
    const different = [...(await read(fitted))].filter(([name, data]) => before(name) && plain.get(name) !== data);
    expect(different.map(([name]) => name).every((name) => names.includes(name))).toBe(true);
    expect(different.length > 0).toBe(changed !== undefined);
  });
});

describe("a small model", () => {
  const source = join(GOLDENS, "ream/qwen3_moe");
  const [model, tokens] = [join(source, "model"), join(source, "calibration.safetensors")];

  test("some layers win", async () => {
    const fits = fitsOf(await make({ model, tokens, experts: 8, routerCalibration: "group-mass" }));
    expect(fits.some(({ kept }) => kept)).toBe(true);
  });

  test("without merged experts there is nothing to follow", async () => {
    const fits = fitsOf(await make({ model, tokens, experts: 12, method: "reap", routerCalibration: "group-mass" }));
    expect(fits).toEqual([
      { layer: 0, kept: false },
      { layer: 1, kept: false },
    ]);
  });

  test("a refit comes behind it, and a given plan gives the same", async () => {
    const options = { model, tokens, experts: 8, routerCalibration: "group-mass", reconstruct: "down" } as const;
    const dry = compress({ precision: "f32", groupSize: 0, method: "ream", ...options, dryRun: true });
    let step = await dry.next();
    while (!step.done) step = await dry.next();
    const plan = join(folder, "plan.json");
    writeFileSync(plan, JSON.stringify(step.value.plan));
    const [own, given] = [await make(options), await make({ ...options, plan })];
    expect(await read(given)).toEqual(await read(own));
    const { routerCalibration, reconstruct } = JSON.parse(readFileSync(join(own, "ream.json"), "utf8"));
    const { after, before } = routerCalibration.layers[0];
    // What the refit starts from is what the fit of the router left.
    expect(reconstruct.layers[0].before.heldOut).toBeCloseTo((after ?? before).heldOut, 2);
  });

  test.each([
    ["an observation", { observed: folder }],
    ["what is not sequential", { sequential: false }],
  ] as const)("refuses %s", async (_, options) => {
    await expect(
      make({ model, tokens, experts: 8, routerCalibration: "group-mass", ...options }),
    ).rejects.toMatchObject({
      code: "SETTINGS_CONFLICT",
    });
  });

  test("refuses routers by SparseMixer", async () => {
    const phi = join(GOLDENS, "forward", "phimoe");
    const { tokens: own, kept } = await facts(phi);
    await expect(
      make({ model: phi, tokens: own, experts: kept, routerCalibration: "group-mass" }),
    ).rejects.toMatchObject({ code: "SETTINGS_CONFLICT", where: "--router-calibration" });
  });
});
