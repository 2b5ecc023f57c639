import { join } from "node:path";
import { expect, test } from "vitest";
import { Checkpoint } from "../../src/checkpoint/checkpoint.js";
import { decode } from "../../src/checkpoint/dtypes.js";
import { LayerObserver } from "../../src/compress/observer.js";
import { resolveSettings } from "../../src/compress/settings.js";
import type { ExpertTensors } from "../../src/engine/backend.js";
import { createReferenceBackend } from "../../src/engine/reference/reference-backend.js";
import { describeModel } from "../../src/model/describe.js";
import { isMoe } from "../../src/model/description.js";
import { loadMoe } from "../../src/model/forward.js";
import { readMoe } from "../../src/model/moe.js";
import { GOLDENS, readTensors } from "../support/goldens.js";

/** || down (silu(gate x) * up x) ||, in float64. */
function outputNorm({ gate, up, down }: ExpertTensors, x: ArrayLike<number>): number {
  const times = (tensor: NonNullable<ExpertTensors["gate"]>, v: ArrayLike<number>) => {
    const values = decode(tensor);
    const [rows, columns] = tensor.shape as [number, number];
    return Float64Array.from({ length: rows }, (_, r) => {
      let sum = 0;
      for (let c = 0; c < columns; c++) sum += values[r * columns + c]! * v[c]!;
      return sum;
    });
  };
  const ups = times(up, x);
  const inner = times(gate!, x).map((value, i) => (value / (1 + Math.exp(-value))) * ups[i]!);
  return Math.hypot(...times(down, inner));
}

// Correction biases that are added for the choice, factors on the weights, groups: transformers' own recorded weights, in
// which a bias never is and a factor always is, make the saliency.
test.each([
  ["deepseek_v3", { scale: 2.5, biased: true }],
  ["glm4_moe_lite", { scale: 1.8, biased: true }],
  ["lfm2_moe", { scale: 1, biased: true }],
  ["minimax_m2", { scale: 1, biased: true }],
  ["laguna", { scale: 1.3, biased: true }],
  ["qwen2_moe", { scale: 1, biased: false }],
])("saliency of %s is that of the weights that the model combines with", async (name, { scale, biased }) => {
  const folder = join(GOLDENS, "forward", name);
  const checkpoint = await Checkpoint.open(folder);
  const expected = await readTensors(join(folder, "expected.safetensors"));
  const backend = createReferenceBackend("f32");
  const model = describeModel(checkpoint.config, checkpoint);
  for (const layer of model.layers.filter(isMoe)) {
    const { router } = layer.feedForward;
    expect([router.scale ?? 1, router.selectionBias !== undefined]).toEqual([scale, biased]);
    const recorded = (kind: string) => expected.get(`moe.${layer.index}.${kind}`)!;
    const x = Float32Array.from(recorded("input").values);
    const tokens = x.length / model.hiddenSize;
    const block = (await loadMoe(checkpoint, layer, backend))!;
    const observer = new LayerObserver(backend, block, resolveSettings("reap"), 1, undefined);
    const batch = { sequences: 1, length: tokens, ids: new Int32Array(tokens) };
    observer.add(0, x, block.run({ router: x, experts: x }), batch);
    const tensors = await readMoe(checkpoint, layer.feedForward);
    const { saliency } = await observer.finish(tensors);

    const [sums, counts] = [new Float64Array(model.experts), new Float64Array(model.experts)];
    const [selected, weights] = [recorded("selected").values, recorded("weights").values];
    for (let pair = 0; pair < selected.length; pair++) {
      const token = Math.floor(pair / model.topK);
      const input = x.subarray(token * model.hiddenSize, (token + 1) * model.hiddenSize);
      const expert = selected[pair]!;
      sums[expert]! += weights[pair]! * outputNorm(await tensors.experts.read(expert), input);
      counts[expert]! += 1;
    }
    for (let e = 0; e < model.experts; e++) {
      const mean = counts[e] === 0 ? 0 : sums[e]! / counts[e]!;
      expect(Math.abs(saliency[e]! - mean)).toBeLessThan(1e-4 * Math.max(mean, 1e-3));
    }
    block.dispose();
  }
  await checkpoint.close();
});
