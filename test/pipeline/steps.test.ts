import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { Checkpoint } from "../../src/checkpoint/checkpoint.js";
import { decode } from "../../src/checkpoint/dtypes.js";
import { weightFormat } from "../../src/checkpoint/quantised/formats.js";
import type { WeightFormatName } from "../../src/checkpoint/quantised/weight-format.js";
import { SafetensorsFile } from "../../src/checkpoint/safetensors.js";
import type { Tensor } from "../../src/checkpoint/tensor.js";
import { createReferenceBackend } from "../../src/engine/reference/reference-backend.js";
import { type CompressResult, compress } from "../../src/pipeline/compress.js";
import { inspect } from "../../src/pipeline/inspect.js";
import type { CompressOptions } from "../../src/pipeline/options.js";
import { GOLDENS } from "../support/goldens.js";

const folder = mkdtempSync(join(tmpdir(), "ream-steps-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const source = join(GOLDENS, "ream/qwen3_moe");
const model = join(source, "model");
const tokens = join(source, "calibration.safetensors");
let runs = 0;

interface Made {
  readonly out: string;
  readonly result: CompressResult;
  readonly notes: readonly string[];
  /** That of the start, where calibration text is read. */
  readonly method: string | undefined;
}

async function make(options: Partial<CompressOptions>): Promise<Made> {
  const out = join(folder, `${++runs}`);
  const notes: string[] = [];
  let method: string | undefined;
  const events = compress({ model, tokens, precision: "f32", out, ...options });
  for (;;) {
    const step = await events.next();
    if (step.done) return { out, result: step.value, notes, method };
    if (step.value.type === "note") notes.push(step.value.message);
    if (step.value.type === "start") method = step.value.method;
  }
}

async function tensorsOf(path: string): Promise<{ checkpoint: Checkpoint; read: (name: string) => Promise<Tensor> }> {
  const checkpoint = await Checkpoint.open(path);
  return { checkpoint, read: (name) => checkpoint.read(name) };
}

const zeros = (values: ArrayLike<number>) => Array.from(values).filter((value) => value === 0).length;
const isExpert = (name: string) => /\.experts\.\d+\./.test(name);
const manifestOf = (out: string) => JSON.parse(readFileSync(join(out, "ream.json"), "utf8"));

describe.each(["magnitude", "wanda", "sparsegpt"])("%s", (pruner) => {
  test("zeroes the share of every expert's matrices and leaves the rest as it is", async () => {
    const { out, result } = await make({ then: [`${pruner}:0.3`] });
    const [before, after] = [await tensorsOf(model), await tensorsOf(out)];
    expect([...after.checkpoint.tensors.keys()]).toEqual([...before.checkpoint.tensors.keys()]);
    for (const name of before.checkpoint.tensors.keys()) {
      const [old, now] = [await before.read(name), await after.read(name)];
      expect({ dtype: now.dtype, shape: now.shape }).toEqual({ dtype: old.dtype, shape: old.shape });
      if (!isExpert(name)) {
        expect(Buffer.from(now.data).equals(old.data), name).toBe(true);
        continue;
      }
      const [rows, columns] = now.shape as [number, number];
      const values = decode(now);
      if (pruner === "wanda") {
        for (let row = 0; row < rows; row++)
          expect(zeros(values.subarray(row * columns, (row + 1) * columns)), name).toBe(Math.floor(0.3 * columns));
      } else {
        expect(zeros(values), name).toBe(Math.floor(0.3 * rows * columns));
      }
      // What stays keeps its value but where SparseGPT makes up for what went.
      if (pruner !== "sparsegpt") {
        const was = decode(old);
        expect(values.every((value, i) => value === 0 || value === was[i])).toBe(true);
      }
    }
    expect(result.plan.experts).toEqual({ before: 16, after: 16 });
    expect(result.bytes.after).toBe(result.bytes.before);
    expect(result.bytes.sparse).toBeLessThan(result.bytes.before);
    await Promise.all([before.checkpoint.close(), after.checkpoint.close()]);
  });

  test("2:4 leaves two of four in every run, in experts and attention", async () => {
    const { out, result } = await make({ then: [`${pruner}:2:4`], parts: ["experts", "attention"] });
    const after = await tensorsOf(out);
    let stored = 0;
    for (const [name, { bytes }] of after.checkpoint.tensors) {
      const pruned = isExpert(name) || /self_attn\..*_proj\.weight$/.test(name);
      // Two of four weights and two bits for the place of each.
      stored += pruned ? (bytes / 2) * (1 + 2 / 16) : bytes;
      if (!pruned) continue;
      const values = decode(await after.read(name));
      for (let i = 0; i < values.length; i += 4) expect(zeros(values.subarray(i, i + 4)), name).toBe(2);
    }
    expect(result.bytes.sparse).toBe(stored);
    await after.checkpoint.close();
  });
});

const FORMATS: readonly WeightFormatName[] = ["int8", "int4-channel", "int4-g32", "fp8", "fp8-block", "mxfp4", "nvfp4"];

describe.each(FORMATS)("%s", (name) => {
  const format = weightFormat(name);
  const backend = createReferenceBackend("f32");

  test("every matrix of the layers is what the format makes of the source's, and the config tells it", async () => {
    const { out, result, notes } = await make({ then: [name], activations: "none" });
    const [before, after] = [await tensorsOf(model), await tensorsOf(out)];
    const quantised: string[] = [];
    const plain: string[] = [];
    for (const [tensor, info] of before.checkpoint.tensors) {
      const shape = info.shape as unknown as [number, number];
      const linear = isExpert(tensor) || /self_attn\.[qkvo]_proj\.weight$/.test(tensor);
      if (linear && format.refusal(shape) === undefined) {
        const module = tensor.replace(/\.weight$/, "");
        const weight = await before.read(tensor);
        quantised.push(module);
        const parts = new Map<string, Tensor>();
        for (const part of format.stored(shape, weight.dtype)) {
          const stored = await after.read(`${module}.${part.suffix}`);
          expect({ suffix: part.suffix, dtype: stored.dtype, shape: stored.shape }).toEqual(part);
          parts.set(part.suffix, stored);
        }
        const expected = format.decode(format.encode(backend, weight, weight.dtype), shape);
        // NVFP4's scale of a whole matrix is shared by those that servers join.
        if (name === "nvfp4") expect(relativeError(format.decode(parts, shape), weight)).toBeLessThan(0.15);
        else expect(Buffer.from(format.decode(parts, shape).data).equals(expected.data), tensor).toBe(true);
      } else {
        const [old, now] = [await before.read(tensor), await after.read(tensor)];
        expect(Buffer.from(now.data).equals(old.data), tensor).toBe(true);
        if (info.shape.length === 2) plain.push(tensor.replace(/\.weight$/, ""));
      }
    }
    expect(quantised.length).toBeGreaterThan(0);
    const config = JSON.parse(readFileSync(join(out, "config.json"), "utf8"));
    expect(config.quantization_config).toMatchObject({ quant_method: "compressed-tensors", format: format.storage });
    expect(new Set(config.quantization_config.ignore)).toEqual(new Set([...plain, "lm_head"]));
    const { quantization_config: _, ...rest } = config;
    expect(rest).toEqual(JSON.parse(readFileSync(join(model, "config.json"), "utf8")));
    expect(result.bytes.after).toBe([...after.checkpoint.tensors.values()].reduce((sum, { bytes }) => sum + bytes, 0));
    expect(notes.some((note) => note.includes("stay as they are"))).toBe(plain.some(isExpert));
    await Promise.all([before.checkpoint.close(), after.checkpoint.close()]);
  });
});

test("the config of E4M3 asks servers to round inputs too, and a note tells it", async () => {
  const { out, notes } = await make({ then: ["fp8"] });
  const { quantization_config: config } = JSON.parse(readFileSync(join(out, "config.json"), "utf8"));
  expect(config.format).toBe("float-quantized");
  expect(config.config_groups.group_0.input_activations).toMatchObject({ num_bits: 8, dynamic: true });
  expect(notes.some((note) => note.includes("round the inputs"))).toBe(true);
});

describe("after merging", () => {
  test("the quantised experts are those of the merged model", async () => {
    const sequential = { sequential: false, method: "ream", experts: 12 } as const;
    const [merged, quantised] = [
      await make({ ...sequential, outputDtype: "f32" }),
      await make({ ...sequential, then: ["int8"] }),
    ];
    const [plain, packed] = [await tensorsOf(merged.out), await tensorsOf(quantised.out)];
    const format = weightFormat("int8");
    for (const [name, info] of plain.checkpoint.tensors) {
      if (!isExpert(name)) continue;
      const shape = info.shape as unknown as [number, number];
      const parts = new Map<string, Tensor>();
      for (const { suffix } of format.stored(shape, "BF16"))
        parts.set(suffix, await packed.read(name.replace(/weight$/, suffix)));
      expect(relativeError(format.decode(parts, shape), await plain.read(name)), name).toBeLessThan(0.012);
    }
    expect(quantised.result.plan.layers).toEqual(merged.result.plan.layers);
    const manifest = manifestOf(quantised.out);
    expect(manifest).toMatchObject({ method: "ream", then: ["int8"], experts: { after: 12 } });
    expect(manifest.steps.layers.map(({ layer }: { layer: number }) => layer)).toEqual([0, 1]);
    await Promise.all([plain.checkpoint.close(), packed.checkpoint.close()]);
  });

  test("later layers see what the steps made: their statistics change", async () => {
    const saliencies = async (then: string[]) => {
      const trace = join(folder, `trace-${then.join()}`);
      await make({ experts: 12, method: "reap", trace, then });
      const file = await SafetensorsFile.open(join(trace, "trace.safetensors"));
      const read = await Promise.all([0, 1].map((layer) => file.read(`layers.${layer}.saliency`)));
      await file.close();
      return read.map((tensor) => Array.from(decode(tensor)));
    };
    const [plain, coarse] = [await saliencies([]), await saliencies(["int4-channel"])];
    // Attention is quantised before the first layer's experts are observed.
    expect(coarse[0]).not.toEqual(plain[0]);
    expect(coarse[1]).not.toEqual(plain[1]);
  });

  test("a plan that is given is followed, with and without calibration text", async () => {
    const dry = await make({ experts: 12, dryRun: true, method: "reap" });
    const plan = join(folder, "plan.json");
    writeFileSync(plan, JSON.stringify({ plan: dry.result.plan }));
    for (const [then, told] of [
      [["int8"], undefined],
      [["gptq:int8"], "reap"],
    ] as const) {
      const { result, out, method } = await make({ plan, then: [...then] });
      expect(result.plan.experts.after).toBe(12);
      expect(method).toBe(told);
      expect(manifestOf(out).then).toEqual(then);
      const { checkpoint } = await tensorsOf(out);
      expect(checkpoint.config.num_experts).toBe(12);
      await checkpoint.close();
    }
  });
});

describe("GPTQ", () => {
  test("loses less of the outputs than rounding to nearest, in every layer", async () => {
    const { out } = await make({ then: ["gptq:int4-channel"] });
    const { layers } = manifestOf(out).steps;
    const nearest = manifestOf((await make({ then: ["int4-channel"] })).out).steps.layers;
    for (const [i, layer] of layers.entries()) {
      expect(layer.outputError).toBeGreaterThan(0);
      // Weights are changed more than by rounding to nearest, outputs less than weights.
      expect(layer.weightError).toBeGreaterThan(nearest[i].weightError);
      expect(layer.outputError).toBeLessThan(nearest[i].weightError);
    }
  });

  test("experts that few tokens reach fall back, and the manifest counts them", async () => {
    const [all, none] = [await make({ then: ["gptq:int8"], leastTokens: 1_000_000 }), await make({ then: ["int8"] })];
    const [fallen, nearest] = [await tensorsOf(all.out), await tensorsOf(none.out)];
    for (const name of nearest.checkpoint.tensors.keys())
      expect(Buffer.from((await fallen.read(name)).data).equals((await nearest.read(name)).data), name).toBe(true);
    for (const { matrices, fellBack } of manifestOf(all.out).steps.layers) expect(fellBack).toBe(matrices);
    await Promise.all([fallen.checkpoint.close(), nearest.checkpoint.close()]);
  });
});

describe("what is refused, before any work", () => {
  test.each([
    [{ parts: ["attention"] }, "SETTINGS_CONFLICT", /nothing says what to do/],
    [{ then: ["int8"], parts: ["embeddings"] }, "OPTION_INVALID", /no part of a layer/],
    [{ then: ["int8"], parts: ["shared"] }, "SETTINGS_CONFLICT", /has no shared/],
    [{ then: ["gptq:int8"], sequential: false, experts: 12 }, "SETTINGS_CONFLICT", /layers before/],
    [{ then: ["wanda:0.5"], observed: "nowhere", experts: 12 }, "SETTINGS_CONFLICT", /calibration text/],
    [{ then: ["magnitude:1:5"] }, "STEP_SHAPE", /not whole runs of 5/],
  ] as [Partial<CompressOptions>, string, RegExp][])("%j", async (options, code, message) => {
    const failed = make(options);
    await expect(failed).rejects.toMatchObject({ code });
    await expect(failed).rejects.toThrow(message);
    expect(existsSync(join(folder, `${runs}`))).toBe(false);
  });
});

test("a dry run tells the sizes that the output then has", async () => {
  for (const options of [{ then: ["int4-g32"] }, { then: ["wanda:2:4"] }, { then: ["int8"], experts: 8 }]) {
    const [dry, real] = [await make({ ...options, dryRun: true }), await make(options)];
    expect(dry.result.bytes).toEqual(real.result.bytes);
    expect(existsSync(dry.out)).toBe(false);
  }
});

test("pruning, then a format: zeros stay zeros", async () => {
  const { out } = await make({ then: ["wanda:2:4", "int8"] });
  const { checkpoint, read } = await tensorsOf(out);
  const format = weightFormat("int8");
  for (const name of checkpoint.tensors.keys()) {
    if (!name.endsWith("gate_proj.weight_packed")) continue;
    const module = name.replace(/\.weight_packed$/, "");
    const shape = Array.from(decode64(await read(`${module}.weight_shape`))) as [number, number];
    const parts = new Map<string, Tensor>();
    for (const { suffix } of format.stored(shape, "BF16")) parts.set(suffix, await read(`${module}.${suffix}`));
    const values = decode(format.decode(parts, shape));
    for (let i = 0; i < values.length; i += 4) expect(zeros(values.subarray(i, i + 4))).toBeGreaterThanOrEqual(2);
  }
  await checkpoint.close();
});

test("inspect and the manifest see the quantised output", async () => {
  const { out } = await make({ then: ["int8"], experts: 12 });
  const found = await inspect(out);
  expect(found.experts).toBe(12);
  expect(found.quantisation).toBeDefined();
});

function decode64({ data }: Tensor): number[] {
  return Array.from(new BigInt64Array(data.slice().buffer), Number);
}

function relativeError(tensor: Tensor, expected: Tensor): number {
  const [ours, theirs] = [decode(tensor), decode(expected)];
  let [lost, of] = [0, 0];
  for (const [i, value] of theirs.entries()) {
    lost += (value - ours[i]!) ** 2;
    of += value ** 2;
  }
  return Math.sqrt(lost / of);
}
