import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { loadTokens } from "../../src/calibration/tokens-file.js";
import { Checkpoint } from "../../src/checkpoint/checkpoint.js";
import { decode, encode } from "../../src/checkpoint/dtypes.js";
import { OutputFolder } from "../../src/checkpoint/output.js";
import { encodeSafetensors } from "../../src/checkpoint/safetensors-encode.js";
import type { DType, Tensor } from "../../src/checkpoint/tensor.js";
import { type Plan, parsePlan } from "../../src/compress/plan.js";
import { type Method, resolveSettings } from "../../src/compress/settings.js";
import { createNativeBackend } from "../../src/engine/native/native-backend.js";
import { checkTensors, describeModel } from "../../src/model/describe.js";
import { isMoe, type ModelDescription, type RouterDescription } from "../../src/model/description.js";
import { makeBatches } from "../../src/pipeline/batches.js";
import { checkExperts, expertLimits } from "../../src/pipeline/check-experts.js";
import { planLayers } from "../../src/pipeline/layer-loop.js";
import { writeCheckpoint } from "../../src/pipeline/write-checkpoint.js";
import { GOLDENS } from "../support/goldens.js";

const EXPERTS = 16;
const source = join(GOLDENS, "ream/qwen3_moe");
const temporary = mkdtempSync(join(tmpdir(), "ream-router-"));
const folder = join(temporary, "source");
afterAll(() => rmSync(temporary, { recursive: true, force: true }));

const groups = { count: 4, kept: 2, score: "sum-of-two" } as const;

/** The golden's layers with another router: sigmoid scores, both biases, groups. */
function withRouter(model: ModelDescription, changes: Partial<RouterDescription> = {}): ModelDescription {
  const layers = model.layers.map((layer) => {
    if (!isMoe(layer)) return layer;
    const router: RouterDescription = {
      ...layer.feedForward.router,
      bias: `${layer.prefix}mlp.gate.bias`,
      selectionBias: `${layer.prefix}mlp.gate.e_score_correction_bias`,
      scores: "sigmoid",
      groups,
      ...changes,
    };
    return { ...layer, feedForward: { ...layer.feedForward, router } };
  });
  return { ...model, layers };
}

/** Values from which the expert of an entry can be told. */
const entry = (layer: number, expert: number) => layer + expert / 1000;

beforeAll(async () => {
  const checkpoint = await Checkpoint.open(join(source, "model"));
  const tensors = new Map<string, Tensor>();
  for (const name of checkpoint.tensors.keys()) tensors.set(name, await checkpoint.read(name));
  for (const layer of withRouter(describeModel(checkpoint.config)).layers.filter(isMoe)) {
    const { bias, selectionBias } = layer.feedForward.router;
    const values = Float32Array.from({ length: EXPERTS }, (_, e) => entry(layer.index, e));
    tensors.set(bias!, { dtype: "BF16", shape: [EXPERTS], data: encode("BF16", values) });
    tensors.set(selectionBias!, { dtype: "F32", shape: [1, EXPERTS], data: encode("F32", values) });
  }
  mkdirSync(folder);
  writeFileSync(join(folder, "model.safetensors"), encodeSafetensors(tensors, {}));
  writeFileSync(join(folder, "config.json"), checkpoint.configText);
  await checkpoint.close();
});

/** Plans and writes with 12 experts kept. */
async function compressed(method: Method, dtype: DType | undefined) {
  const checkpoint = await Checkpoint.open(folder);
  const model = withRouter(describeModel(checkpoint.config));
  checkTensors(checkpoint, model);
  const backend = createNativeBackend({ precision: "f32" });
  const settings = resolveSettings(method, { groupSize: 4 });
  const calibration = await loadTokens(join(source, "calibration.safetensors"), model.vocabularySize);
  const kept = 12;
  const loop = planLayers({
    ...{ checkpoint, model, backend, settings, kept, seed: 1, mergedDtype: undefined, finished: [] },
    batches: makeBatches(calibration, settings),
    onPlan: async () => {},
  });
  let planned = await loop.next();
  while (!planned.done) planned = await loop.next();
  const experts = { before: EXPERTS, after: kept };
  const plan: Plan = { format: "ream-plan", version: 1, method, rounding: "once", experts, layers: planned.value };
  const out = join(temporary, `${method}-${dtype}`);
  const output = await OutputFolder.create(out, { fingerprint: "test" });
  const prediction = { predictions: [], omitted: new Set<string>(), predictionLayers: undefined, notes: [] };
  const opened = { name: "test", hubId: undefined, folder, checkpoint, model, ...prediction };
  const writing = writeCheckpoint({ opened, output, plan, backend, mergedDtype: undefined, dtype, shards: "source" });
  for (let step = await writing.next(); !step.done; ) step = await writing.next();
  await output.close();
  await checkpoint.close();
  return { plan, model, written: await Checkpoint.open(out) };
}

describe.each([
  ["ream", undefined],
  ["ream-official", "BF16"],
  ["hc-smoe", "F32"],
  ["reap", undefined],
] as [Method, DType | undefined][])("%s, output %s", (method, dtype) => {
  test("every group of the router keeps as many experts, and biases are those of the kept ones", async () => {
    const { plan, model, written } = await compressed(method, dtype);
    const moeLayers = model.layers.filter(isMoe);
    const { experts, router } = moeLayers[0]!.feedForward;
    const facts = { layers: moeLayers.map(({ index }) => index), experts: EXPERTS, width: experts.width, router };
    expect(parsePlan(plan, facts, "plan")).toEqual(plan);
    for (const layer of moeLayers) {
      const { keptExperts } = plan.layers.find(({ layer: index }) => index === layer.index)!;
      const values = Float32Array.from(keptExperts, (expert) => entry(layer.index, expert));
      const [bias, selectionBias] = [
        await written.read(layer.feedForward.router.bias!),
        await written.read(layer.feedForward.router.selectionBias!),
      ];
      expect(bias).toMatchObject({ dtype: dtype ?? "BF16", shape: [12] });
      expect(decode(bias)).toEqual(decode({ dtype: "BF16", data: encode("BF16", values) }));
      // Never rounded, whatever the output's dtype is.
      expect(selectionBias).toMatchObject({ dtype: "F32", shape: [1, 12] });
      expect(decode(selectionBias)).toEqual(values);
    }
    checkTensors(written, withRouter(describeModel(written.config)));
    await written.close();
  });
});

test("a bias of another length is refused", async () => {
  const checkpoint = await Checkpoint.open(folder);
  const model = describeModel(checkpoint.config);
  for (const changes of [{ bias: "model.norm.weight" }, { selectionBias: "model.embed_tokens.weight" }]) {
    expect(() => checkTensors(checkpoint, withRouter(model, changes))).toThrow(
      expect.objectContaining({ code: "TENSOR_SHAPE" }) as Error,
    );
  }
  await checkpoint.close();
});

test("a number of experts that the router's groups cannot share is refused, and the hint says which can be", async () => {
  const checkpoint = await Checkpoint.open(folder);
  const model = withRouter(describeModel(checkpoint.config));
  await checkpoint.close();
  expect([8, 12, 16].map((experts) => checkExperts(experts, expertLimits(model)))).toEqual([8, 12, 16]);
  for (const experts of [4, 10, 20]) {
    expect(() => checkExperts(experts, expertLimits(model))).toThrow(
      expect.objectContaining({
        code: "EXPERTS_RANGE",
        hint: expect.stringContaining("a multiple of 4 from 8 to 16") as string,
      }) as Error,
    );
  }
});
