import { join } from "node:path";
import { expect, test } from "vitest";
import { inspect } from "../../../src/pipeline/inspect.js";
import { forwardCases, GOLDENS } from "../../support/goldens.js";

const golden = (name: string) => inspect(join(GOLDENS, "forward", name));

test("layers by kind", async () => {
  expect((await golden("qwen3_next")).layerKinds).toEqual({
    blocks: { "with experts": 4 },
    mixers: { "gated delta rule": 3, "gated attention": 1 },
  });
  expect((await golden("deepseek_v3")).layerKinds).toEqual({
    blocks: { "with experts": 2, dense: 1 },
    mixers: { "latent attention": 3 },
  });
  expect((await golden("gpt_oss")).layerKinds.mixers).toEqual({
    "attention in a window of 8 with sinks": 2,
    "attention with sinks": 1,
  });
  expect((await golden("llama4_text")).layerKinds.mixers).toEqual({
    "attention in chunks of 16": 3,
    "attention without positions": 1,
  });
  expect((await golden("minimax")).layerKinds.mixers).toHaveProperty("lightning attention");
  expect((await golden("lfm2_moe")).layerKinds.mixers).toEqual({ "short convolution": 2, attention: 1 });
});

test("the rule of the router", async () => {
  const groups = { count: 4, kept: 2, score: "sum-of-two" };
  expect((await golden("deepseek_v3")).router).toEqual({
    ...{ scores: "sigmoid", bias: false, correctionBias: true, groups, normalised: true, scale: 2.5 },
    inWords:
      "sigmoid, the best 4 experts by scores with a correction bias, of the best 2 of 4 groups by their best two experts, weights normalised, times 2.5",
  });
  const inWords = async (name: string) => (await golden(name)).router.inWords;
  expect(await inWords("gpt_oss")).toBe("softmax of biased logits, the best 2 experts, weights normalised");
  expect(await inWords("phimoe")).toBe("SparseMixer (jitter 0.01), the best 2 experts");
  expect(await inWords("llama4_text")).toBe("sigmoid, the best expert, weights not normalised, on the experts' inputs");
});

test("how experts are stored", async () => {
  const storage = async (name: string) => (await golden(name)).expertStorage;
  expect(await storage("qwen3_moe")).toBe("one tensor for each expert and matrix");
  expect(await storage("granitemoe")).toBe("stacked in one tensor of gate with up and one of down");
  expect(await storage("gpt_oss")).toBe(
    "stacked in one tensor of gate with up and one of down, transposed, gate and up interleaved",
  );
});

test("quantised weights, and those that are not", async () => {
  const mxfp4 = (await golden("gpt_oss-mxfp4")).quantisation!;
  expect(mxfp4.inWords).toBe("MXFP4: 4-bit floats, a scale for every 32");
  expect(mxfp4.matrices).toEqual({
    experts: { quantised: 2 * 8 * 3, plain: 0 },
    attention: { quantised: 0, plain: 2 * 4 },
    routers: { quantised: 0, plain: 2 },
    embedding: { quantised: 0, plain: 1 },
    "output matrix": { quantised: 0, plain: 1 },
  });
  const fp8 = await golden("deepseek_v3-fp8");
  expect(fp8.quantisation!.inWords).toBe("FP8 (E4M3), a scale for each block of 128 x 128");
  expect(fp8.quantisation!.matrices.attention!.plain).toBe(0);
  expect((await golden("qwen3_moe")).quantisation).toBeUndefined();
});

test("parts outside the text model, and layers for multi-token prediction", async () => {
  const { otherParts, where } = await golden("llama4_text");
  expect(Object.keys(otherParts).sort()).toEqual(["multi_modal_projector", "vision_model"]);
  expect(where.otherParts).toBe(Object.values(otherParts).reduce((sum, { bytes }) => sum + bytes, 0));
  const qwen = await golden("qwen3_5_moe");
  expect(Object.keys(qwen.otherParts)).toEqual(["model.visual"]);
  expect(qwen.predictionLayers).toEqual({ layers: 1, tensors: 19 });
});

test.each(forwardCases())("%s: every byte is in one part, scales with their weights", async (_, folder) => {
  const { where, bytes, textParameters, parameters } = await inspect(folder);
  expect(Object.values(where).reduce((sum, part) => sum + part, 0)).toBe(bytes);
  expect(textParameters.total).toBeLessThanOrEqual(parameters);
  expect(textParameters.active).toBeLessThan(textParameters.total);
});
