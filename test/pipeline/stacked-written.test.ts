import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { Checkpoint } from "../../src/checkpoint/checkpoint.js";
import { mergeGroup } from "../../src/compress/merge.js";
import { groupOf, type Plan } from "../../src/compress/plan.js";
import type { ExpertTensors } from "../../src/engine/backend.js";
import { createReferenceBackend } from "../../src/engine/reference/reference-backend.js";
import { checkTensors, describeModel } from "../../src/model/describe.js";
import { isMoe, type MoeLayer } from "../../src/model/description.js";
import { compress } from "../../src/pipeline/compress.js";
import { inspect } from "../../src/pipeline/inspect.js";
import { MergedExperts } from "../../src/pipeline/merged-experts.js";
import type { CompressOptions } from "../../src/pipeline/options.js";
import { compressedModel } from "../../src/pipeline/prediction-layers.js";
import { GOLDENS } from "../support/goldens.js";

const folder = mkdtempSync(join(tmpdir(), "ream-stacked-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const tokens = join(GOLDENS, "ream/qwen3_moe/calibration.safetensors");

async function run(options: CompressOptions): Promise<Plan> {
  const events = compress(options);
  let step = await events.next();
  while (!step.done) step = await events.next();
  return step.value.plan;
}

describe.each(["qwen3_5_moe", "granitemoe", "llama4_text", "gpt_oss"])("%s, whose experts are stacked", (name) => {
  test.each([
    ["reap", "source"],
    ["ream", "layer"],
  ] as const)(
    "%s, shards by %s: each merged expert is in its place, in the layout of the source",
    async (method, shards) => {
      const model = join(GOLDENS, "forward", name);
      const out = join(folder, `${name}-${method}`);
      const plan = await run({
        model,
        out,
        tokens,
        method,
        shards,
        experts: 5,
        precision: "f32",
        backend: "reference",
      });
      const [before, after] = [await Checkpoint.open(model), await Checkpoint.open(out)];
      const [source, target] = [before, after].map((checkpoint) => {
        // Of qwen3_5_moe the layer for multi-token prediction is compressed too.
        const described = describeModel(checkpoint.config, checkpoint);
        checkTensors(checkpoint, described);
        return compressedModel(checkpoint, described);
      });
      expect(plan.layers.map(({ layer }) => layer)).toEqual(source!.layers.filter(isMoe).map(({ index }) => index));
      for (const layerPlan of plan.layers) {
        const read = source!.layers[layerPlan.layer] as MoeLayer;
        const wanted = target!.layers[layerPlan.layer] as MoeLayer;
        expect(wanted.feedForward.experts.count).toBe(5);
        for (const [slot, kept] of layerPlan.keptExperts.entries()) {
          const merged = await mergeGroup(
            createReferenceBackend("f32"),
            groupOf(layerPlan, kept),
            (expert) => read.feedForward.experts.read(before, expert),
            { when: plan.rounding, dtype: undefined },
          );
          expect(await wanted.feedForward.experts.read(after, slot)).toEqual(merged);
        }
      }
      const sizes = (await inspect(model)).compressed.find(({ experts }) => experts === 5);
      expect(sizes?.bytes).toBe([...after.tensors.values()].reduce((sum, { bytes }) => sum + bytes, 0));
      await Promise.all([before.close(), after.close()]);
    },
  );
});

test.each(["qwen3_moe-fp8", "deepseek_v3-fp8", "gpt_oss-mxfp4"])("%s is inspected and pruned", async (name) => {
  const model = join(GOLDENS, "forward", name);
  const inspection = await inspect(model);
  const experts = 4;
  const out = join(folder, `${name}-pruned`);
  await run({ model, out, tokens, method: "reap", experts });
  const written = await Checkpoint.open(out);
  const size = inspection.compressed.find((one) => one.experts === experts);
  expect(size?.bytes).toBe([...written.tensors.values()].reduce((sum, { bytes }) => sum + bytes, 0));
  await written.close();
  expect(inspection.quantisation?.method).toBe(name.endsWith("fp8") ? "fp8-blocks" : "mxfp4");
});

test("parameters of a quantised model are counted as numbers, not as bytes and scales", async () => {
  const [quantised, plain] = ["gpt_oss-mxfp4", "gpt_oss"].map((name) => inspect(join(GOLDENS, "forward", name)));
  const checkpoint = await Checkpoint.open(join(GOLDENS, "forward/gpt_oss-mxfp4"));
  const layers = describeModel(checkpoint.config, checkpoint).layers.length;
  await checkpoint.close();
  const outer = (256 + 256 + 1) * 64;
  const perLayer = ((await quantised)!.parameters - outer) / layers;
  expect(perLayer).toBe(((await plain)!.parameters - outer) / (await plain)!.layers);
});

describe("merged experts", () => {
  const layer = (index: number) => ({ index }) as MoeLayer;
  const setUp = (most: number) => {
    const merged: string[] = [];
    const merge = async ({ index }: MoeLayer, slot: number): Promise<ExpertTensors> => {
      merged.push(`${index}.${slot}`);
      const tensor = { dtype: "U8", shape: [10], data: new Uint8Array(10) } as const;
      return { gate: tensor, up: tensor, down: tensor };
    };
    const experts = new MergedExperts(merge, Object.values, most);
    return { merged, experts };
  };

  test("of separate tensors the last one is kept", async () => {
    const { merged, experts } = setUp(1000);
    for (const slot of [0, 0, 0, 1, 1, 0]) await experts.take(layer(0), slot, false);
    expect(merged).toEqual(["0.0", "0.1", "0.0"]);
  });

  test("of stacked ones as many as fit, of one layer", async () => {
    const { merged, experts } = setUp(60);
    for (const slot of [0, 1, 2, 0, 1, 2]) await experts.take(layer(0), slot, true);
    expect(merged).toEqual(["0.0", "0.1", "0.2"]);
    for (const slot of [0, 1]) await experts.take(layer(1), slot, true);
    expect(merged.slice(3)).toEqual(["1.0", "1.1"]);
    for (const slot of [2, 3, 0, 2, 3]) await experts.take(layer(1), slot, true);
    expect(merged.slice(5)).toEqual(["1.2", "1.3", "1.2", "1.3"]);
  });
});
