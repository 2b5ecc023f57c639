import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { Checkpoint } from "../../src/checkpoint/checkpoint.js";
import { decode, encode } from "../../src/checkpoint/dtypes.js";
import { encodeSafetensors } from "../../src/checkpoint/safetensors-encode.js";
import type { DType, Tensor } from "../../src/checkpoint/tensor.js";
import type { LayerPlan, Plan } from "../../src/compress/plan.js";
import { compress } from "../../src/pipeline/compress.js";
import type { CompressOptions } from "../../src/pipeline/options.js";
import { Random } from "../../src/random.js";
import { ream } from "../support/command.js";
import { folderDigest } from "../support/folder-digest.js";
import { GOLDENS } from "../support/goldens.js";
import { killRounds } from "../support/kill-rounds.js";

const source = join(GOLDENS, "ream/qwen3_moe");
const [model, tokens] = [join(source, "model"), join(source, "calibration.safetensors")];
const folder = mkdtempSync(join(tmpdir(), "ream-criteria-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function run(options: Partial<CompressOptions>) {
  const events = compress({ model, tokens, experts: 12, method: "reap", precision: "f32", ...options });
  let step = await events.next();
  while (!step.done) step = await events.next();
  return step.value;
}

const plan = async (options: Partial<CompressOptions>): Promise<Plan> => (await run({ dryRun: true, ...options })).plan;

describe("--criterion", () => {
  test("auto keeps the experts of the criterion that loses least in each layer", async () => {
    const { layers } = await plan({ criterion: "auto" });
    for (const { choice } of layers) {
      expect(Object.keys(choice!.errors)).toContain("co-activation");
      expect(choice!.error).toBe(Math.min(...Object.values(choice!.errors)));
      expect(choice!.errors[choice!.criterion]).toBe(choice!.error);
    }
    // The first layer sees the same whatever happens behind it.
    const { keptExperts, choice } = layers[0]!;
    for (const saliency of ["reap", "frequency", "mean-squared-norm", "score-mass"] as const) {
      const alone = (await plan({ saliency })).layers[0]!;
      expect(choice!.errors).toHaveProperty(saliency);
      if (choice!.criterion === saliency) expect(keptExperts).toEqual(alone.keptExperts);
    }
  });

  test.each(["swap", "refit-swap"] as const)("both backends choose the same: %s", async (criterion) => {
    const chosen = async (backend: "native" | "reference") =>
      (await plan({ criterion, backend })).layers.map(({ keptExperts, choice }) => [keptExperts, choice!.criterion]);
    expect(await chosen("native")).toEqual(await chosen("reference"));
  });

  test("merging groups around what was chosen, and the manifest says how", async () => {
    const out = join(folder, "merged");
    const { plan: made } = await run({ method: "ream", groupSize: 4, criterion: "co-activation", out });
    const pruned = await plan({ criterion: "co-activation" });
    expect(made.layers[0]!.keptExperts).toEqual(pruned.layers[0]!.keptExperts);
    const manifest = JSON.parse(readFileSync(join(out, "ream.json"), "utf8"));
    expect(manifest.plan.layers.map(({ choice }: LayerPlan) => choice)).toEqual(
      made.layers.map(({ choice }) => choice),
    );
  });

  test("a plan with choices can be given", async () => {
    const made = await plan({ criterion: "swap" });
    const file = join(folder, "plan.json");
    writeFileSync(file, JSON.stringify(made));
    const [given, own] = [join(folder, "given"), join(folder, "own")];
    await run({ plan: file, out: given });
    await run({ criterion: "swap", out: own });
    expect(folderDigest(given)["model.safetensors"]).toBe(folderDigest(own)["model.safetensors"]);
  });

  test.each([
    ["hierarchical clusters", { method: "hc-smoe", criterion: "auto" }],
    ["means of batches", { method: "ream-official", criterion: "swap" }],
    ["an observation", { observed: folder, criterion: "auto" }],
    ["super experts by means of batches", { method: "ream-official", protectSuperExperts: true }],
  ] as const)("refuses %s", async (_, options) => {
    await expect(run({ dryRun: true, ...options })).rejects.toMatchObject({ code: "SETTINGS_CONFLICT" });
  });

  test("one sequence is too few", async () => {
    const file = join(folder, "one.safetensors");
    const ids: Tensor = { dtype: "I32", shape: [1, 24], data: new Uint8Array(new Int32Array(24).fill(3).buffer) };
    writeFileSync(file, encodeSafetensors(new Map([["input_ids", ids]])));
    await expect(run({ tokens: file, dryRun: true, criterion: "auto" })).rejects.toMatchObject({
      code: "CRITERION_TOKENS",
    });
  });
});

describe("super experts", () => {
  /** The model with the outputs of an expert of the first layer a thousand times as large. */
  async function withSuperExpert(expert: number): Promise<string> {
    const out = join(folder, `super-${expert}`);
    cpSync(model, out, { recursive: true });
    const checkpoint = await Checkpoint.open(model);
    const tensors = new Map<string, Tensor>();
    for (const name of checkpoint.tensors.keys()) {
      const tensor = await checkpoint.read(name);
      const scaled = name.includes(`layers.0.mlp.experts.${expert}.down_proj`);
      const dtype = tensor.dtype as DType;
      const data = scaled
        ? encode(
            dtype,
            decode(tensor).map((value) => 1000 * value),
          )
        : tensor.data;
      tensors.set(name, { ...tensor, data });
    }
    await checkpoint.close();
    writeFileSync(join(out, "model.safetensors"), encodeSafetensors(tensors));
    return out;
  }

  test("are kept though few tokens use them", async () => {
    const keptOf = async (experts: number) => (await plan({ method: "frequency", experts })).layers[0]!.keptExperts;
    const [some, most] = [await keptOf(8), await keptOf(12)];
    const rare = most.find((e) => !some.includes(e))!;
    const changed = await withSuperExpert(rare);
    const options = { method: "frequency", experts: 8 } as const;
    const plain = (await plan({ ...options, model: changed })).layers[0]!;
    expect(plain.keptExperts).not.toContain(rare);
    const spared = (await plan({ ...options, model: changed, protectSuperExperts: true })).layers[0]!;
    expect(spared.superExperts).toEqual([rare]);
    expect(spared.keptExperts).toContain(rare);
    const [first] = (await plan({ ...options, protectSuperExperts: true })).layers;
    expect(first!.superExperts).toEqual([]);
  });
});

test("killed at random moments and run again, it gives the same bytes", async () => {
  const command = (out: string) => [
    ...["compress", model, "--out", out, "--experts", "12", "--group-size", "4", "--tokens", tokens],
    ...["--criterion", "swap", "--protect-super-experts", "--router-calibration", "group-mass"],
    ...["--backend", "reference", "--json"],
  ];
  const began = performance.now();
  expect((await ream(command(join(folder, "whole")))).code).toBe(0);
  const duration = performance.now() - began;
  const expected = folderDigest(join(folder, "whole"));
  await killRounds({ folder, command, expected, duration, random: new Random(20_261_129), kills: 8 });
}, 600_000);
