import { readdirSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { loadTokens } from "../../src/calibration/tokens-file.js";
import { Checkpoint } from "../../src/checkpoint/checkpoint.js";
import { resolveSettings, type Settings } from "../../src/compress/settings.js";
import type { LayerTrace } from "../../src/compress/trace.js";
import { describeModel } from "../../src/model/describe.js";
import { makeBatches } from "../../src/pipeline/batches.js";
import { planLayers } from "../../src/pipeline/layer-loop.js";
import { BACKENDS } from "../support/backends.js";
import { GOLDENS, largestRelativeDifference, readJson } from "../support/goldens.js";

const MODELS = readdirSync(join(GOLDENS, "ream"));

interface Scores {
  layers: {
    tokens_routed: number[];
    frequency: number[];
    reap_raw: number[];
    reap_renormalised: number[];
    kept: Record<string, Record<string, number[]>>;
  }[];
}

/** Pruning criteria of the reference data: key, and the settings that compute it. */
const CRITERIA: Record<"reap_raw" | "reap_renormalised" | "frequency", Partial<Settings>> = {
  reap_raw: { gate: "scores" },
  reap_renormalised: { gate: "combined" },
  frequency: { saliency: "frequency" },
};

const runs = MODELS.flatMap((model) => Object.entries(BACKENDS).map(([name, create]) => ({ model, name, create })));

describe.each(runs)("$model, $name backend", ({ model: name, create }) => {
  const folder = join(GOLDENS, "ream", name);

  test.each(Object.entries(CRITERIA))("%s of the original model", async (key, changes) => {
    const scores = readJson<Scores>(join(folder, "reap/scores.json"));
    const checkpoint = await Checkpoint.open(join(folder, "model"));
    const model = describeModel(checkpoint.config, checkpoint);
    const calibration = await loadTokens(join(folder, "calibration.safetensors"), model.vocabularySize);
    for (const kept of [12, 8]) {
      const settings = resolveSettings("reap", { sequential: false, ...changes });
      const traces: LayerTrace[] = [];
      const batches = makeBatches(calibration, settings);
      const loop = planLayers({
        checkpoint,
        model,
        backend: create("f32"),
        settings,
        batches,
        kept,
        seed: 0,
        mergedDtype: "F32",
        finished: [],
        onTrace: (t) => traces.push(t),
        onPlan: async () => {},
      });
      let step = await loop.next();
      while (!step.done) step = await loop.next();
      for (const [index, layer] of scores.layers.entries()) {
        const trace = traces[index]!.json as { saliency: number[]; tokens_routed: number[] };
        expect(trace.tokens_routed).toEqual(layer.tokens_routed);
        expect(largestRelativeDifference(trace.saliency, layer[key as "reap_raw"])).toBeLessThan(1e-4);
        const expected = layer.kept[key]?.[kept];
        if (key !== "frequency") expect(step.value[index]!.keptExperts).toEqual(expected);
      }
    }
    await checkpoint.close();
  });
});
