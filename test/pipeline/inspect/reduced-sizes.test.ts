import { join } from "node:path";
import { expect, test } from "vitest";
import { tensorBytes } from "../../../src/checkpoint/safetensors-encode.js";
import { reducedSizes } from "../../../src/pipeline/inspect/reduced-sizes.js";
import { openModel } from "../../../src/pipeline/open-model.js";
import { outputTensors } from "../../../src/pipeline/output-layout.js";
import { compressedModel } from "../../../src/pipeline/prediction-layers.js";
import { forwardCases, GOLDENS } from "../../support/goldens.js";

async function opened(folder: string) {
  const model = await openModel(folder);
  await model.checkpoint.close();
  return model;
}

test.each(forwardCases().filter(([name]) => !/fp8|mxfp4|jetmoe/.test(name)))(
  "%s: sizes are those that are laid out for writing",
  async (_, folder) => {
    const { checkpoint, model } = await opened(folder);
    const sizes = reducedSizes(checkpoint, model);
    expect(sizes.length).toBeGreaterThan(0);
    for (const { experts, bytes, parameters } of sizes) {
      const tensors = outputTensors(checkpoint, compressedModel(checkpoint, model), experts, undefined);
      expect(bytes).toBe(tensors.reduce((sum, tensor) => sum + tensorBytes(tensor), 0));
      const numbers = tensors.map(({ shape }) => shape.reduce((product, size) => product * size, 1));
      expect(parameters).toBe(numbers.reduce((sum, count) => sum + count, 0));
    }
  },
);

test("experts in FP8 leave with their scales, those in MXFP4 with theirs and their biases", async () => {
  const fp8 = await opened(join(GOLDENS, "forward/qwen3_moe-fp8"));
  const tensors = [...fp8.checkpoint.tensors.values()];
  const total = tensors.reduce((sum, { bytes }) => sum + bytes, 0);
  const leaving = tensors.filter(({ name }) => /experts\.[67]\./.test(name));
  expect(leaving.some(({ name }) => name.endsWith("_scale_inv"))).toBe(true);
  const rows = 2 * 2 * 128 * 2;
  const left = leaving.reduce((sum, { bytes }) => sum + bytes, 0) + rows;
  expect(reducedSizes(fp8.checkpoint, fp8.model).find(({ experts }) => experts === 6)!.bytes).toBe(total - left);

  const { checkpoint, model } = await opened(join(GOLDENS, "forward/gpt_oss-mxfp4"));
  const all = [...checkpoint.tensors.values()];
  const halved = all.map(({ name, bytes }) => (/\.(experts|router)\./.test(name) ? bytes / 2 : bytes));
  const half = reducedSizes(checkpoint, model).find(({ experts }) => experts === 4)!;
  expect(half.bytes).toBe(halved.reduce((sum, bytes) => sum + bytes, 0));
});
