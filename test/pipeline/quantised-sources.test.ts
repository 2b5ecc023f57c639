import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { Checkpoint } from "../../src/checkpoint/checkpoint.js";
import { decode, encode } from "../../src/checkpoint/dtypes.js";
import { MXFP4 } from "../../src/checkpoint/quantised/e2m1.js";
import type { QuantisedWeight, WeightStorage } from "../../src/checkpoint/quantised/weight-format.js";
import { encodeSafetensors } from "../../src/checkpoint/safetensors-encode.js";
import type { Tensor } from "../../src/checkpoint/tensor.js";
import { joinRows } from "../../src/checkpoint/tensor-layout.js";
import { mergeGroup } from "../../src/compress/merge.js";
import { isMerged } from "../../src/compress/plan.js";
import type { ExpertTensors } from "../../src/engine/backend.js";
import { createNativeBackend } from "../../src/engine/native/native-backend.js";
import { isMoe } from "../../src/model/description.js";
import { codingOf, expertTensorNames, type StoredExpert } from "../../src/model/expert-coding.js";
import { EXPERT_PARTS, type ExpertStorage } from "../../src/model/expert-storage.js";
import { forward, OutputHead } from "../../src/model/forward.js";
import { storedAs } from "../../src/model/read-weight.js";
import { routerNames } from "../../src/model/router.js";
import { type CompressResult, compress } from "../../src/pipeline/compress.js";
import type { CompressEvent } from "../../src/pipeline/events.js";
import { openModel } from "../../src/pipeline/open-model.js";
import type { CompressOptions } from "../../src/pipeline/options.js";
import { expectCode, temporaryFolder } from "../checkpoint/support.js";
import { GOLDENS, largestDifference } from "../support/goldens.js";
import { halfSteps } from "../support/half-steps.js";
import { SCHEMES, writeQuantised } from "../support/quantised-model.js";
import { writeSyntheticModel } from "../support/synthetic-model.js";

const SIZES = { layers: 2, hidden: 128, width: 128, experts: 8, topK: 2, vocabulary: 50 };
const backend = createNativeBackend({ precision: "f32", threads: 2 });
const common = { precision: "f32", threads: 2, method: "ream" } as const;

async function run(options: CompressOptions): Promise<{ result: CompressResult; events: CompressEvent[] }> {
  const running = compress(options);
  const events: CompressEvent[] = [];
  for (;;) {
    const step = await running.next();
    if (step.done) return { result: step.value, events };
    events.push(step.value as CompressEvent);
  }
}

/** Writes the model in a form, and text for its calibration. */
async function quantised(name: string) {
  const folder = await temporaryFolder();
  writeSyntheticModel(join(folder, "source"), SIZES);
  await writeQuantised(join(folder, "source"), folder, name, backend);
  const tokens = join(folder, "tokens.safetensors");
  const data = new Uint8Array(Int32Array.from({ length: 4 * 16 }, (_, i) => (7 * i) % 50).buffer);
  writeFileSync(tokens, encodeSafetensors(new Map([["input_ids", { dtype: "I32", shape: [4, 16], data }]])));
  return { folder, model: join(folder, "quantised"), tokens };
}

async function logits(folder: string): Promise<Float32Array> {
  const { checkpoint, model } = await openModel(folder);
  const batch = { sequences: 1, length: 12, ids: Int32Array.from({ length: 12 }, (_, i) => (7 * i) % 50) };
  const [hidden] = await forward(checkpoint, model, backend, [batch]);
  const head = await OutputHead.load(checkpoint, model, backend);
  const found = head.logits(hidden!);
  head.dispose();
  await checkpoint.close();
  return found;
}

const quantizationOf = (folder: string) =>
  JSON.parse(readFileSync(join(folder, "config.json"), "utf8")).quantization_config;
const manifestOf = (folder: string) => JSON.parse(readFileSync(join(folder, "ream.json"), "utf8"));

/**
 * Compares a compressed quantised model with its source: what is not merged has its bytes, merged experts lie within half a
 * step of their members' values merged in float32.
 */
async function expectFaithful(source: string, out: string, { plan }: CompressResult): Promise<number> {
  const before = await openModel(source);
  const after = await openModel(out);
  const [from, to] = [before.checkpoint, after.checkpoint];
  let merged = 0;
  const touched = new Set<string>();
  for (const layer of before.model.layers.filter(isMoe)) {
    const { experts, router } = layer.feedForward;
    const planned = plan.layers.find(({ layer: index }) => index === layer.index)!;
    const written = after.model.layers.filter(isMoe).find(({ index }) => index === layer.index)!.feedForward.experts;
    const [old, now] = [codingOf(from, experts)!, codingOf(to, written)!];
    for (const name of [...expertTensorNames(from, experts), ...routerNames(router)]) touched.add(name);
    for (const [slot, expert] of planned.keptExperts.entries()) {
      const group = planned.groups.find(({ members }) => members[0] === expert)!;
      const stored = await now.read(to, slot);
      if (!isMerged(group)) {
        expect(same(stored, await old.read(from, expert)), `layer ${layer.index}, expert ${expert}`).toBe(true);
        continue;
      }
      merged++;
      const read = (member: number) => experts.read(from, member);
      const wanted = await mergeGroup(backend, group, read, { when: plan.rounding, dtype: "F32" });
      const found = now.decode(stored, backend);
      for (const { storage, parts, of, label } of storedMatrices(to, written, stored, slot)) {
        const [values, expected] = [of(found), of(wanted)];
        const limits = halfSteps(storage, parts, values.shape as [number, number]);
        const target = decode(expected);
        const over = decode(values).findIndex((value, i) => Math.abs(value - target[i]!) > limits[i]!);
        expect(over, `layer ${layer.index}, slot ${slot}, ${label}`).toBe(-1);
      }
    }
  }
  for (const [name, info] of from.tensors) {
    if (touched.has(name)) continue;
    expect([name, to.info(name).dtype, to.info(name).shape]).toEqual([name, info.dtype, info.shape]);
    expect(Buffer.compare((await to.read(name)).data, (await from.read(name)).data), name).toBe(0);
  }
  await from.close();
  await to.close();
  return merged;
}

const same = (a: ReadonlyMap<string, Tensor>, b: ReadonlyMap<string, Tensor>) =>
  [...a].length === b.size &&
  [...a].every(([part, { dtype, shape, data }]) => {
    const other = b.get(part);
    return other?.dtype === dtype && other.shape.join() === shape.join() && Buffer.compare(other.data, data) === 0;
  });

interface StoredMatrix {
  readonly label: string;
  readonly storage: WeightStorage;
  readonly parts: QuantisedWeight;
  readonly of: (expert: ExpertTensors) => Tensor;
}

/** The quantised matrices of an expert: modules of their own, or those of gpt-oss, gate and up joined. */
function storedMatrices(
  checkpoint: Checkpoint,
  experts: ExpertStorage,
  stored: StoredExpert,
  slot: number,
): readonly StoredMatrix[] {
  if (experts.coding === undefined) {
    return EXPERT_PARTS.map((part) => ({
      label: part,
      storage: storedAs(checkpoint, experts.matrixName(slot, part))!.storage,
      parts: new Map(
        [...stored].flatMap(([name, tensor]) =>
          name.startsWith(`${part}.`) ? [[name.slice(part.length + 1), tensor]] : [],
        ),
      ),
      of: (expert) => expert[part]!,
    }));
  }
  const parts = (of: string): QuantisedWeight => {
    const [blocks, scales] = [stored.get(`${of}.blocks`)!, stored.get(`${of}.scales`)!];
    const [rows, groups] = scales.shape as [number, number];
    return new Map([
      ["weight_packed", { ...blocks, shape: [rows, groups * 16] }],
      ["weight_scale", scales],
    ]);
  };
  return [
    { label: "gate and up", storage: MXFP4, parts: parts("gateUp"), of: ({ gate, up }) => joinRows(gate!, up, true) },
    { label: "down", storage: MXFP4, parts: parts("down"), of: ({ down }) => down },
  ];
}

describe.each(Object.keys(SCHEMES))("a model in %s", (name) => {
  test("keeps the bytes of what is not merged, and merged experts within half a step", async () => {
    const { folder, model, tokens } = await quantised(name);
    const out = join(folder, "out");
    const { result, events } = await run({ ...common, model, out, tokens, experts: 6 });
    const merged = await expectFaithful(model, out, result);
    expect(merged).toBeGreaterThan(0);
    expect(quantizationOf(out)).toEqual(quantizationOf(model));
    const told = events.filter((event) => event.type === "requantised");
    expect(told.reduce((sum, { experts }) => sum + experts, 0)).toBe(merged);
    const errors = manifestOf(out).requantised as { layer: number; experts: number; weightError: number }[];
    expect(errors.map(({ layer, experts }) => [layer, experts])).toEqual(
      told.map(({ layer, experts }) => [layer, experts]),
    );
    for (const { weightError } of errors) {
      expect(weightError).toBeGreaterThan(0);
      expect(weightError).toBeLessThan(/4|gptq|awq/.test(name) ? 0.03 : 0.002);
    }
    // It is a model like its source: it runs, and can be compressed again.
    expect((await logits(out)).every(Number.isFinite)).toBe(true);
    const again = join(folder, "again");
    const second = await run({ ...common, model: out, out: again, tokens, experts: 4, method: "reap" });
    expect(await expectFaithful(out, again, second.result)).toBe(0);
    expect(manifestOf(again).requantised).toBeUndefined();
  });

  test("is written as floats on request, those that its decoded twin gives", async () => {
    const { folder, model, tokens } = await quantised(name);
    const options = { ...common, tokens, experts: 6, outputDtype: "f32" } as const;
    const [out, twin] = [join(folder, "out"), join(folder, "twin")];
    await run({ ...options, model, out });
    await run({ ...options, model: join(folder, "decoded"), out: twin });
    expect(quantizationOf(out)).toBeUndefined();
    const [ours, theirs] = [await Checkpoint.open(out), await Checkpoint.open(twin)];
    expect([...ours.tensors.keys()].sort()).toEqual([...theirs.tensors.keys()].sort());
    for (const tensor of theirs.tensors.keys()) {
      const [a, b] = [await ours.read(tensor), await theirs.read(tensor)];
      expect([tensor, a.dtype, a.shape]).toEqual([tensor, b.dtype, b.shape]);
      expect(largestDifference(decode(a), decode(b)), tensor).toBe(0);
    }
    await Promise.all([ours.close(), theirs.close()]);
  });
});

describe("recorded models", () => {
  test.each(["qwen3_moe-fp8", "deepseek_v3-fp8", "gpt_oss-mxfp4"])("%s", async (name) => {
    const folder = await temporaryFolder();
    const [model, out] = [join(GOLDENS, "forward", name), join(folder, "out")];
    const tokens = join(GOLDENS, "ream/qwen3_moe/calibration.safetensors");
    const opened = await openModel(model);
    const { experts } = opened.model;
    await opened.checkpoint.close();
    const { result } = await run({ ...common, model, out, tokens, experts: (3 * experts) / 4 });
    expect(await expectFaithful(model, out, result)).toBeGreaterThan(0);
    expect(quantizationOf(out)).toEqual(quantizationOf(model));
    // With all experts, as floats, it is the model that its quantised form is.
    const floats = join(folder, "floats");
    await run({ ...common, model, out: floats, tokens, experts, outputDtype: "f32" });
    expect(quantizationOf(floats)).toBeUndefined();
    expect(largestDifference(await logits(floats), await logits(model))).toBe(0);
  });
});

test("experts that are not all stored in the same way are written as floats alone", async () => {
  const { folder, model, tokens } = await quantised("fp8-deepseek");
  const [checkpoint, decoded] = await Promise.all([Checkpoint.open(model), Checkpoint.open(join(folder, "decoded"))]);
  const tensors = new Map<string, Tensor>();
  const plain = "model.layers.1.mlp.experts.3.up_proj.weight";
  for (const name of checkpoint.tensors.keys()) tensors.set(name, await checkpoint.read(name));
  tensors.delete(`${plain}_scale_inv`);
  const { shape, data } = await decoded.read(plain);
  tensors.set(plain, { dtype: "BF16", shape, data: encode("BF16", decode({ dtype: "F32", data })) });
  await Promise.all([checkpoint.close(), decoded.close()]);
  writeFileSync(join(model, "model.safetensors"), encodeSafetensors(tensors));
  const options = { ...common, model, tokens, experts: 6, method: "reap" } as const;
  const error = await expectCode("QUANTISED_PARTS", () => run({ ...options, out: join(folder, "refused") }));
  expect(error.where).toContain("experts.3.");
  const out = join(folder, "floats");
  await run({ ...options, out, outputDtype: "bf16" });
  expect((await logits(out)).every(Number.isFinite)).toBe(true);
});

test("a tensor of an expert that nobody knows is refused", async () => {
  const { folder, model, tokens } = await quantised("int8");
  const checkpoint = await Checkpoint.open(model);
  const tensors = new Map<string, Tensor>();
  for (const name of checkpoint.tensors.keys()) tensors.set(name, await checkpoint.read(name));
  await checkpoint.close();
  tensors.set("model.layers.0.mlp.experts.2.up_proj.bias", { dtype: "BF16", shape: [1], data: new Uint8Array(2) });
  writeFileSync(join(model, "model.safetensors"), encodeSafetensors(tensors));
  const options = { ...common, model, tokens, experts: 6, out: join(folder, "refused") } as const;
  const error = await expectCode("TENSOR_UNKNOWN", () => run(options));
  expect(error.message).toContain("experts.2.up_proj.bias");
});

test("steps go from a quantised model to floats, not back, and refits where that is asked for", async () => {
  const { folder, model, tokens } = await quantised("fp8-deepseek");
  const options = { ...common, model, tokens, experts: 6 } as const;
  const refused = () => run({ ...options, out: join(folder, "refused"), then: ["int8"] });
  expect((await expectCode("QUANTISED_SOURCE", refused)).message).toContain("--then");
  const changes = [{ then: ["int8"] }, { reconstruct: "down" }, { then: ["wanda:0.5"] }, { then: ["magnitude:0.5"] }];
  for (const [i, more] of changes.entries()) {
    const [out, twin] = [join(folder, `changed-${i}`), join(folder, `twin-${i}`)];
    const common = { ...options, outputDtype: "f32", ...more } as CompressOptions;
    await run({ ...common, out });
    await run({ ...common, model: join(folder, "decoded"), out: twin });
    expect(quantizationOf(out)?.quant_method).toBe(i === 0 ? "compressed-tensors" : undefined);
    expect(await logits(out)).toEqual(await logits(twin));
  }
});
