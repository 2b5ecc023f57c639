import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { Checkpoint } from "../../src/checkpoint/checkpoint.js";
import { encodeSafetensors } from "../../src/checkpoint/safetensors-encode.js";
import type { Tensor } from "../../src/checkpoint/tensor.js";
import type { ExpertTensors } from "../../src/engine/backend.js";
import { createReferenceBackend } from "../../src/engine/reference/reference-backend.js";
import { describeModel } from "../../src/model/describe.js";
import { isMoe, type MoeLayer } from "../../src/model/description.js";
import { compress } from "../../src/pipeline/compress.js";
import { follow } from "../../src/pipeline/follow.js";
import { inspect } from "../../src/pipeline/inspect.js";
import { forwardDeviation } from "../support/forward-golden.js";
import { GOLDENS } from "../support/goldens.js";

const folder = mkdtempSync(join(tmpdir(), "ream-layouts-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Writes a golden with its experts in the other layout: stacked where each is a tensor by itself, and the other way. */
async function otherLayout(name: string): Promise<string> {
  const golden = join(GOLDENS, "forward", name);
  const checkpoint = await Checkpoint.open(golden);
  const own = describeModel(checkpoint.config, checkpoint);
  const experts = new Set(own.layers.filter(isMoe).flatMap(({ feedForward }) => feedForward.experts.names));
  const separate = [...experts].some((tensor) => /\.experts\.0\./.test(tensor));
  // What tells the layouts apart is whether expert 0 has tensors of its own.
  const has = (tensor: string) => (/\.experts\.0\./.test(tensor) ? !separate : checkpoint.has(tensor));
  const other = describeModel(checkpoint.config, { has, tensors: checkpoint.tensors });
  const tensors = new Map<string, Tensor>();
  for (const tensor of checkpoint.tensors.keys())
    if (!experts.has(tensor)) tensors.set(tensor, await checkpoint.read(tensor));
  for (const { index, feedForward } of own.layers.filter(isMoe)) {
    const { count } = feedForward.experts;
    const read: ExpertTensors[] = [];
    for (let e = 0; e < count; e++) read.push(await feedForward.experts.read(checkpoint, e));
    for (const output of (other.layers[index] as MoeLayer).feedForward.experts.outputs(count)) {
      const parts = output.slots.map((slot) => output.tensor(read[slot]!));
      const data = Buffer.concat(parts.map((part) => part.data));
      tensors.set(output.name, { dtype: parts[0]!.dtype, shape: output.shape, data });
    }
  }
  await checkpoint.close();
  const out = join(folder, name);
  mkdirSync(out);
  writeFileSync(join(out, "model.safetensors"), encodeSafetensors(tensors));
  for (const file of ["config.json", "expected.safetensors", "expected.json"])
    cpSync(join(golden, file), join(out, file));
  return out;
}

test.each([
  ["qwen3_moe", /^stacked/],
  ["qwen3_next", /^stacked/],
  ["deepseek_v3", /^stacked/],
  ["glm4_moe", /^stacked/],
  ["mixtral", /^stacked/],
  ["minimax_m2", /^stacked/],
  ["lfm2_moe", /^stacked/],
  ["qwen3_5_moe", /^one tensor/],
  ["llama4_text", /^one tensor/],
])("%s computes the same from the other layout, and is compressed in it", async (name, form) => {
  const other = await otherLayout(name);
  const found = await inspect(other);
  expect(found.expertStorage).toMatch(form);
  const deviation = await forwardDeviation(other, createReferenceBackend("f32"));
  expect(deviation.selected).toBe(0);
  expect(deviation.logits).toBeLessThan(2e-4);
  const out = join(folder, `${name}-out`);
  const tokens = join(GOLDENS, "ream/qwen3_moe/calibration.safetensors");
  const { experts, bytes } = found.compressed.at(-1)!;
  await follow(compress({ model: other, out, tokens, method: "reap", experts }), () => undefined);
  expect(await inspect(out)).toMatchObject({ experts, bytes, expertStorage: found.expertStorage });
});
