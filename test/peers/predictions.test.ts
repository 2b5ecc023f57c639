import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { encodeSafetensors } from "../../src/checkpoint/safetensors-encode.js";
import { METHODS } from "../../src/compress/settings.js";
import { forward, loadMoe } from "../../src/model/forward.js";
import { StatesInMemory } from "../../src/model/hidden-states.js";
import { Layer } from "../../src/model/layer.js";
import { normStates, predictionInput } from "../../src/model/prediction.js";
import { compress } from "../../src/pipeline/compress.js";
import { memoryEstimate } from "../../src/pipeline/inspect.js";
import { openModel } from "../../src/pipeline/open-model.js";
import type { CompressOptions } from "../../src/pipeline/options.js";
import { Random } from "../../src/random.js";
import { BACKENDS } from "../support/backends.js";
import { largestDifference, readJson, readTensors } from "../support/goldens.js";

const here = fileURLToPath(new URL(".", import.meta.url));
const python = join(here, "../../.peers/bin/python");
const folder = mkdtempSync(join(tmpdir(), "ream-predictions-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const FAMILIES = ["deepseek_v3", "glm4_moe", "mellum"];
const tokens = join(folder, "calibration.safetensors");

function runPython(...args: string[]): void {
  execFileSync(python, [join(here, "predictions.py"), ...args], { stdio: ["ignore", "ignore", "pipe"] });
}

/** The output of the prediction layer for the ids of a file that predictions.py wrote, by us and by transformers. */
async function outputs(model: string, recorded: string) {
  const expected = await readTensors(recorded);
  const backend = BACKENDS.native!("f32");
  const { checkpoint, model: description } = await openModel(model);
  try {
    const ids = Int32Array.from(expected.get("input_ids")!.values);
    const batches = [{ sequences: 1, length: ids.length, ids }];
    const [prediction] = description.predictions!;
    const last = await forward(checkpoint, description, backend, batches);
    const states = new StatesInMemory(last);
    await normStates(checkpoint, backend, description.finalNorm, states);
    const [batch] = await predictionInput(checkpoint, description, backend, prediction!, batches, states);
    const layers = [...description.layers, prediction!.layer];
    const layer = await Layer.load(checkpoint, { ...description, layers }, prediction!.layer.index, backend);
    const moe = await loadMoe(checkpoint, prediction!.layer, backend);
    const mixed = layer.mix(states.get(0), batch!);
    const x = layer.feedForwardInput(mixed);
    states.set(0, layer.finish(mixed, x, layer.feedForward(x, moe!.run(layer.moeInput(x)).output)));
    await normStates(checkpoint, backend, prediction!.outputNorm, states);
    return { ours: states.get(0), theirs: expected.get("output")!.values };
  } finally {
    await checkpoint.close();
  }
}

async function compressTo(model: string, out: string, changes: Partial<CompressOptions> = {}) {
  const notes: string[] = [];
  const run = compress({ model, out, method: "ream", experts: 6, tokens, precision: "f32", ...changes });
  for (;;) {
    const step = await run.next();
    if (step.done) return { ...step.value, notes };
    if (step.value.type === "note") notes.push(step.value.message);
  }
}

// Skipped, and counted as skipped, where the Python peers are not installed (test/peers/README.md).
describe.skipIf(!existsSync(python))("layers for multi-token prediction", () => {
  beforeAll(() => {
    runPython("make", folder);
    const random = new Random(1);
    const ids = Int32Array.from({ length: 10 * 20 }, () => random.below(80));
    const tensor = { dtype: "I32", shape: [10, 20], data: new Uint8Array(ids.buffer) } as const;
    writeFileSync(tokens, encodeSafetensors(new Map([["input_ids", tensor]])));
  });

  test("ours is transformers', also of compressed ones", async () => {
    const paths: string[] = [];
    for (const family of FAMILIES) {
      const model = join(folder, family);
      paths.push(model);
      for (const method of ["ream", "reap"] as const) {
        const out = join(folder, `${family}-${method}`);
        const { plan, predictionLayers, notes } = await compressTo(model, out, { method });
        expect(predictionLayers).toBe("compressed");
        expect(notes.some((note) => note.includes("is compressed too"))).toBe(true);
        expect(plan.layers.at(-1)).toMatchObject({ layer: 2 });
        expect(readJson(join(out, "ream.json"))).toMatchObject({ predictionLayers: "compressed" });
        paths.push(out);
      }
    }
    runPython("run", ...paths);
    for (const path of paths) {
      const { ours, theirs } = await outputs(path, `${path}.safetensors`);
      expect(largestDifference(ours, theirs), path).toBeLessThan(2e-4);
    }
  }, 600_000);

  test("a plan that holds them is applied to them; one that does not leaves them", async () => {
    const model = join(folder, "glm4_moe");
    const { plan } = await compressTo(model, join(folder, "planned"));
    const whole = join(folder, "plan.json");
    writeFileSync(whole, JSON.stringify(plan));
    const given = { tokens: undefined, experts: undefined, method: undefined };
    const again = await compressTo(model, join(folder, "again"), { ...given, plan: whole } as object);
    expect(again.predictionLayers).toBe("compressed");
    const [first, second] = await Promise.all(
      ["planned", "again"].map((name) => readTensors(join(folder, name, "model.safetensors"))),
    );
    expect(second).toEqual(first);
    const part = join(folder, "part.json");
    writeFileSync(part, JSON.stringify({ ...plan, layers: plan.layers.filter(({ layer }) => layer < 2) }));
    const options = { ...given, plan: part } as object;
    expect(await compressTo(model, join(folder, "part"), options)).toMatchObject({ predictionLayers: "kept" });
    const forced = compressTo(model, join(folder, "forced"), { ...options, predictionLayers: "compress" });
    await expect(forced).rejects.toMatchObject({ code: "SETTINGS_CONFLICT" });
  });

  test("a run that ends before them goes on with them, to the same bytes", async () => {
    const model = join(folder, "mellum");
    const whole = await compressTo(model, join(folder, "whole"));
    const out = join(folder, "resumed");
    const stop = new AbortController();
    const options = { model, out, method: "ream", experts: 6, tokens, precision: "f32" } as const;
    const run = compress(options, stop.signal);
    const interrupted = (async () => {
      for await (const event of run) if (event.type === "layer" && event.plan.layer === 1) stop.abort();
    })();
    await expect(interrupted).rejects.toThrow();
    const resumed = await compressTo(model, out);
    expect(resumed.plan).toEqual(whole.plan);
    const [first, second] = await Promise.all(
      ["whole", "resumed"].map((name) => readTensors(join(folder, name, "model.safetensors"))),
    );
    expect(second).toEqual(first);
  });

  test("with hidden states in a file the same weights come out, refitted too", async () => {
    const model = join(folder, "glm4_moe");
    const options = { method: "reap", reconstruct: "all", reconstructRandom: 0.5 } as const;
    const kept = await compressTo(model, join(folder, "states-kept"), options);
    const opened = await openModel(model);
    await opened.checkpoint.close();
    const { bytes, hiddenStates } = memoryEstimate(opened, {
      ...{ sequences: 10, length: 20, precision: "f32", kept: 6, settings: METHODS.reap.settings },
      refit: { parts: "all", tokens: undefined, random: 0.5 },
    });
    const memoryLimit = `${(bytes - hiddenStates / 2) / 1e6}MB`;
    const filed = await compressTo(model, join(folder, "states-filed"), { ...options, memoryLimit });
    expect(filed.notes).toContainEqual(expect.stringMatching(/are kept in a file/));
    expect(filed.refits!.layers.at(-1)).toMatchObject({ layer: 2, kept: true });
    expect(filed.plan).toEqual(kept.plan);
    const [first, second] = await Promise.all(
      ["states-kept", "states-filed"].map((name) => readTensors(join(folder, name, "model.safetensors"))),
    );
    expect(second).toEqual(first);
  });

  test("dropped: their tensors are gone, and the config tells of none; kept: they are as they were", async () => {
    const model = join(folder, "deepseek_v3");
    const dropped = await compressTo(model, join(folder, "dropped"), { predictionLayers: "drop" });
    expect(dropped).toMatchObject({ predictionLayers: "dropped" });
    const names = [...(await readTensors(join(folder, "dropped/model.safetensors"))).keys()];
    expect(names.filter((name) => name.startsWith("model.layers.2."))).toEqual([]);
    expect(readJson(join(folder, "dropped/config.json"))).toMatchObject({ num_nextn_predict_layers: 0 });
    const kept = await compressTo(model, join(folder, "kept"), { predictionLayers: "keep" });
    expect(kept.notes.some((note) => note.includes("copied as they are, with 8 experts"))).toBe(true);
    const [before, after] = await Promise.all(
      [model, join(folder, "kept")].map((path) => readTensors(join(path, "model.safetensors"))),
    );
    for (const [name, tensor] of before!)
      if (name.startsWith("model.layers.2.")) expect(after!.get(name)).toEqual(tensor);
  });
});
