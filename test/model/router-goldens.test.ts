import { readdirSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { Checkpoint } from "../../src/checkpoint/checkpoint.js";
import { decode } from "../../src/checkpoint/dtypes.js";
import type { RouterDescription } from "../../src/model/description.js";
import { route } from "../../src/model/router.js";
import { BACKENDS } from "../support/backends.js";
import { GOLDENS, largestDifference, readTensors } from "../support/goldens.js";

/** A router without its top k, which the recorded choices tell. Names of tensors are relative to the layer. */
type Rule = Omit<RouterDescription, "topK"> & { readonly prefix?: string };

const softmax = (weight: string, normalise: boolean): Rule => ({ weight, scores: "softmax", normalise });
const corrected = (scale: number, groups?: RouterDescription["groups"]): Rule => ({
  weight: "mlp.gate.weight",
  selectionBias: "mlp.gate.e_score_correction_bias",
  scores: "sigmoid",
  normalise: true,
  epsilon: 1e-20,
  scale,
  ...(groups && { groups }),
});
const gptOss: Rule = {
  weight: "mlp.router.weight",
  bias: "mlp.router.bias",
  scores: "softmax",
  chooseBy: "logits",
  normalise: true,
};

const CASES: Readonly<Record<string, Rule>> = {
  deepseek_v2: { ...softmax("mlp.gate.weight", false), scale: 1 },
  deepseek_v3: corrected(2.5, { count: 4, kept: 2, score: "sum-of-two" }),
  "deepseek_v3-fp8": corrected(2.5, { count: 2, kept: 1, score: "sum-of-two" }),
  dots1: corrected(2.5, { count: 1, kept: 1, score: "sum-of-two" }),
  ernie4_5_moe: {
    ...softmax("mlp.gate.weight", true),
    selectionBias: "mlp.moe_statics.e_score_correction_bias",
    floor: 1e-12,
  },
  flex_olmo: softmax("mlp.gate.weight", false),
  glm4_moe: corrected(2.5),
  glm4_moe_lite: corrected(1.8),
  gpt_oss: gptOss,
  "gpt_oss-mxfp4": gptOss,
  granitemoe: { ...softmax("block_sparse_moe.router.layer.weight", true), chooseBy: "logits" },
  hunyuan_v1_moe: softmax("mlp.gate.wg.weight", true),
  jetmoe: { ...softmax("mlp.router.layer.weight", true), chooseBy: "logits" },
  lfm2_moe: {
    weight: "feed_forward.gate.weight",
    selectionBias: "feed_forward.expert_bias",
    scores: "sigmoid",
    normalise: true,
    epsilon: 1e-6,
    scale: 1,
  },
  llama4_text: {
    prefix: "language_model.model.layers.",
    weight: "feed_forward.router.weight",
    scores: "sigmoid",
    chooseBy: "logits",
    normalise: false,
    scalesInputs: true,
  },
  minimax: softmax("block_sparse_moe.gate.weight", true),
  minimax_m2: {
    weight: "block_sparse_moe.gate.weight",
    selectionBias: "block_sparse_moe.e_score_correction_bias",
    scores: "sigmoid",
    normalise: true,
  },
  mixtral: softmax("block_sparse_moe.gate.weight", true),
  olmoe: softmax("mlp.gate.weight", false),
  phimoe: { ...softmax("block_sparse_moe.gate.weight", false), sparseMixer: { jitter: 0.01 } },
  qwen2_moe: softmax("mlp.gate.weight", false),
  qwen3_5_moe: { ...softmax("mlp.gate.weight", true), prefix: "model.language_model.layers." },
  qwen3_moe: softmax("mlp.gate.weight", true),
  "qwen3_moe-fp8": softmax("mlp.gate.weight", true),
  "qwen3_moe-tied-yarn": softmax("mlp.gate.weight", true),
  qwen3_next: softmax("mlp.gate.weight", true),
};

// Goldens that came later are seen by forward.test.ts alone, routing included.
test("every case is there", () => {
  expect(readdirSync(join(GOLDENS, "forward"))).toEqual(expect.arrayContaining(Object.keys(CASES)));
});

describe.each(Object.entries(BACKENDS))("%s backend", (_, create) => {
  test.each(Object.entries(CASES))("%s routes as recorded", async (name, { prefix = "model.layers.", ...rule }) => {
    const folder = join(GOLDENS, "forward", name);
    const checkpoint = await Checkpoint.open(folder);
    const expected = await readTensors(join(folder, "expected.safetensors"));
    const backend = create("f32");
    const layers = [...expected.keys()].flatMap((tensor) => /^moe\.(\d+)\.input$/.exec(tensor)?.[1] ?? []);
    expect(layers.length).toBeGreaterThan(0);
    for (const layer of layers) {
      const recorded = (kind: string) => expected.get(`moe.${layer}.${kind}`)!;
      const read = (tensor: string) => checkpoint.read(`${prefix}${layer}.${tensor}`);
      const vector = async (tensor: string | undefined) =>
        tensor === undefined ? undefined : decode(await read(tensor));
      const weights = {
        weight: backend.matrix(await read(rule.weight)),
        bias: await vector(rule.bias),
        selectionBias: await vector(rule.selectionBias),
      };
      const x = Float32Array.from(recorded("input").values);
      const router = { ...rule, topK: recorded("selected").shape[1]! };
      const { logits, routing } = route(backend, x, weights, router);
      expect(largestDifference(logits, recorded("router_logits").values)).toBeLessThan(1e-4);
      expect(Array.from(routing.selected)).toEqual(Array.from(recorded("selected").values));
      expect(largestDifference(routing.weights, recorded("weights").values)).toBeLessThan(2e-5);
      weights.weight.dispose();
    }
    await checkpoint.close();
  });
});
