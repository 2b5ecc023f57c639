import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";
import { formatsOf } from "../../src/advise/formats.js";
import { CheckpointSizes, type FormatLayout } from "../../src/advise/sizes.js";
import { Checkpoint } from "../../src/checkpoint/checkpoint.js";
import { tensorBytes } from "../../src/checkpoint/safetensors-encode.js";
import type { DType } from "../../src/checkpoint/tensor.js";
import { describeModel } from "../../src/model/describe.js";
import { isMoe } from "../../src/model/description.js";
import { compress } from "../../src/pipeline/compress.js";
import { expertTargets } from "../../src/pipeline/expert-targets.js";
import { follow } from "../../src/pipeline/follow.js";
import { outputTensors } from "../../src/pipeline/output-layout.js";
import { compressedModel } from "../../src/pipeline/prediction-layers.js";
import { resolveCompress } from "../../src/pipeline/resolve-options.js";
import { planSteps } from "../../src/pipeline/steps/step-plan.js";
import { forwardCases, GOLDENS } from "../support/goldens.js";

const folder = mkdtempSync(join(tmpdir(), "ream-advise-sizes-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const tokens = join(GOLDENS, "ream/qwen3_moe/calibration.safetensors");
const compressible = forwardCases().filter(([name]) => !/fp8|mxfp4/.test(name));

async function open(path: string) {
  const checkpoint = await Checkpoint.open(path);
  const model = compressedModel(checkpoint, describeModel(checkpoint.config, checkpoint));
  return { checkpoint, model, sizes: new CheckpointSizes(checkpoint, model) };
}

const bytesOf = ({ tensors }: Checkpoint) => [...tensors.values()].reduce((sum, { bytes }) => sum + bytes, 0);

/** A byte for each number, and a scale for each row. */
const BYTES: FormatLayout = {
  stored: ([rows, columns], scaleDtype) => [
    { suffix: "weight", dtype: "I8", shape: [rows, columns] },
    { suffix: "weight_scale", dtype: scaleDtype, shape: [rows, 1] },
  ],
  refusal: () => undefined,
};

/** Each matrix as it is, in the dtype of all floats. */
const SAME: FormatLayout = {
  stored: (shape, dtype) => [{ suffix: "weight", dtype, shape }],
  refusal: () => undefined,
};

const steps = (...names: string[]) => ({ then: names });

/** A small run of `ream compress`; the bytes of the tensors that it has written. */
async function written(model: string, out: string, experts: number, format?: string): Promise<number> {
  const options = { model, out, tokens, method: "reap", experts, backend: "native", precision: "f32" } as const;
  await follow(compress({ ...options, ...(format !== undefined && steps(format)) }), () => undefined);
  const checkpoint = await Checkpoint.open(out);
  await checkpoint.close();
  return bytesOf(checkpoint);
}

describe.each(compressible)("%s", (name, path) => {
  test("sizes are those that ream compress writes", async () => {
    const { checkpoint, model, sizes } = await open(path);
    const experts = expertTargets(model).at(-1)!;
    expect(sizes.of(experts, undefined)).toEqual({
      bytes: await written(path, join(folder, name), experts),
      plain: [],
    });
    expect(sizes.of(model.experts, undefined).bytes).toBe(bytesOf(checkpoint));
    await checkpoint.close();
  });

  test("and with every format and number of experts those that it would write", async () => {
    const { checkpoint, model, sizes } = await open(path);
    const scaleDtype = checkpoint.info(model.layers.find(isMoe)!.feedForward.experts.names[0]!).dtype as DType;
    const usable = [...formatsOf(model).usable];
    // Nothing reads experts with biases, or those that are always in one tensor, in a weight format.
    const together = [
      "aria",
      "dbrx",
      "gemma4",
      "gpt_oss",
      "granitemoe",
      "granitemoehybrid",
      "jetmoe",
      "step3p7",
      "qwen3_vl_moe",
    ];
    expect(usable.length === 0).toBe(together.includes(name));
    for (const [format, layout] of usable) {
      const plan = planSteps(resolveCompress({ model: path, ...steps(format) }))!;
      for (const experts of [model.experts, ...expertTargets(model)]) {
        const outputs = outputTensors(checkpoint, model, experts, undefined, { steps: { plan, scaleDtype } });
        const bytes = outputs.reduce((sum, tensor) => sum + tensorBytes(tensor), 0);
        expect(sizes.of(experts, layout).bytes, `${experts} ${format}`).toBe(bytes);
      }
    }
    await checkpoint.close();
  });

  test("a format that changes nothing, and one that refuses all, are the size without one", async () => {
    const { checkpoint, model, sizes } = await open(path);
    const none: FormatLayout = { stored: () => [], refusal: () => "no" };
    fc.assert(
      fc.property(fc.constantFrom(model.experts, ...expertTargets(model)), (experts) => {
        const { bytes } = sizes.of(experts, undefined);
        expect(sizes.of(experts, SAME).bytes).toBe(bytes);
        const refused = sizes.of(experts, none);
        expect(refused.bytes).toBe(bytes);
        const left = refused.plain.find(({ part }) => part === "experts")!;
        const moeLayers = model.layers.filter(({ feedForward }) => feedForward.kind === "moe").length;
        // Experts of Nemotron-H have no gates.
        const matrices = (name === "nemotron_h" ? 2 : 3) * experts * moeLayers;
        expect(left).toEqual({ part: "experts", reason: "no", matrices });
      }),
    );
    await checkpoint.close();
  });
});

test.each(["qwen3_moe", "qwen3_5_moe", "deepseek_v3", "qwen3_next"])("%s in formats, as written", async (name) => {
  const path = join(GOLDENS, "forward", name);
  const { checkpoint, model, sizes } = await open(path);
  const experts = expertTargets(model)[0]!;
  for (const [format, layout] of formatsOf(model).usable) {
    const bytes = await written(path, join(folder, `${name}-${format}`), experts, format);
    expect(sizes.of(experts, layout).bytes, format).toBe(bytes);
  }
  await checkpoint.close();
});

describe("with a format", () => {
  const LINEAR = {
    qwen3_moe: /layers\.\d+\.(self_attn\.[qkvo]_proj|mlp\.(experts\.\d+\.)?(gate|up|down)_proj)\.weight$/,
    deepseek_v3:
      /layers\.\d+\.(self_attn\.(q_a_proj|q_b_proj|kv_a_proj_with_mqa|kv_b_proj|o_proj)|mlp\.((experts\.\d+|shared_experts)\.)?(gate|up|down)_proj)\.weight$/,
    qwen3_next:
      /layers\.\d+\.(self_attn\.[qkvo]_proj|linear_attn\.(in_proj_qkvz|out_proj)|mlp\.((experts\.\d+|shared_expert)\.)?(gate|up|down)_proj)\.weight$/,
  };

  test.each(Object.entries(LINEAR))("%s: tensor by tensor", async (name, linear) => {
    const { checkpoint, model, sizes } = await open(join(GOLDENS, "forward", name));
    const experts = model.experts / 2;
    let expected = 0;
    let matrices = 0;
    for (const { name, shape, bytes } of checkpoint.tensors.values()) {
      const own = /\.experts\.(\d+)\./.exec(name)?.[1];
      if (own !== undefined && Number(own) >= experts) continue;
      const isRouter = shape[0] === model.experts && /\.(gate\.weight|e_score_correction_bias)$/.test(name);
      const numbers = shape.reduce((product, size) => product * size, 1);
      if (linear.test(name)) {
        expected += numbers + (shape[0]! * bytes) / numbers;
        matrices += 1;
      } else expected += isRouter ? bytes / 2 : bytes;
    }
    expect(matrices).toBeGreaterThan(3 * experts);
    expect(sizes.of(experts, BYTES)).toEqual({ bytes: expected, plain: [] });
    await checkpoint.close();
  });

  test("gpt_oss: experts in one tensor, whose biases stay", async () => {
    const { checkpoint, model, sizes } = await open(join(GOLDENS, "forward/gpt_oss"));
    const experts = 4;
    let expected = 0;
    for (const { name, shape, bytes } of checkpoint.tensors.values()) {
      const numbers = shape.reduce((product, size) => product * size, 1);
      const each = bytes / numbers;
      const kept = /mlp\.(experts|router)\./.test(name) ? experts / model.experts : 1;
      const isExpert = /experts\.(gate_up|down)_proj$/.test(name);
      // Stored turned: the outputs are the last axis.
      const rows = isExpert ? shape[0]! * shape[2]! : shape[0]!;
      const isLinear = isExpert || /self_attn\.[qkvo]_proj\.weight$/.test(name);
      expected += kept * (isLinear ? numbers + rows * each : bytes);
    }
    expect(sizes.of(experts, BYTES)).toEqual({ bytes: expected, plain: [] });
    await checkpoint.close();
  });
});
