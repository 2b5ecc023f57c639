import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { loadCalibration } from "../../src/calibration/load-calibration.js";
import { calibrationOptions } from "../../src/calibration/options.js";
import { resolveSettings } from "../../src/compress/settings.js";
import { packageFolder } from "../../src/package-folder.js";
import { makeBatches } from "../../src/pipeline/batches.js";
import { keepAll } from "../../src/pipeline/given-plan.js";
import { planLayers } from "../../src/pipeline/layer-loop.js";
import { openModel } from "../../src/pipeline/open-model.js";
import { resolveCompress } from "../../src/pipeline/resolve-options.js";
import { openSteps } from "../../src/pipeline/steps/open-steps.js";
import { planSteps } from "../../src/pipeline/steps/step-plan.js";
import { BACKENDS } from "../support/backends.js";

const folder = mkdtempSync(join(tmpdir(), "ream-gptq-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Shares of the outputs that a step loses in each layer of the demo model, on its calibration text. */
async function losses(step: string): Promise<number[]> {
  const demo = join(packageFolder(), "demo");
  const opened = await openModel(join(demo, "model"));
  const { checkpoint, model } = opened;
  const backend = BACKENDS.native!("f32");
  const domains = ["general", "math", "code"];
  const options = calibrationOptions.parse({
    mix: "general=0.34,math=0.33,code=0.33",
    domain: domains.map((domain) => `${domain}=${join(demo, "data/calibration", `${domain}.jsonl`)}`),
    ...{ sequences: 48, length: 128 },
  });
  const calibration = await loadCalibration(options, { model: opened.folder, vocabularySize: model.vocabularySize });
  const settings = resolveSettings("ream");
  const kept = model.experts;
  // Rounding to nearest looks at no inputs; here they are wanted for its error.
  const plan = { ...planSteps(resolveCompress({ model: "demo", then: [step] }))!, need: "gram" as const };
  const steps = await openSteps(plan, { opened, output: undefined, backend, kept, dtype: undefined });
  const found: number[] = [];
  try {
    const run = planLayers({
      ...{ checkpoint, model, backend, settings, kept, steps, seed: 0, mergedDtype: "F32" },
      ...{ batches: makeBatches(calibration, settings), finished: keepAll(model).layers },
      onPlan: () => Promise.reject(new Error("all plans are there")),
    });
    for await (const event of run) {
      if (event.type === "steps") found.push(event.error.outputs!.lost / event.error.outputs!.of);
    }
  } finally {
    await steps.close();
    await checkpoint.close();
  }
  return found;
}

test.each([["int4-channel"], ["int8"]])(
  "GPTQ loses less than rounding to nearest in every layer: %s",
  async (format) => {
    const [nearest, gptq] = [await losses(format), await losses(`gptq:${format}`)];
    expect(nearest).toHaveLength(4);
    for (const [layer, loss] of gptq.entries()) expect(loss).toBeLessThan(nearest[layer]!);
  },
);
