import { createNativeBackend } from "../../src/engine/native/native-backend.js";
import { isMoe } from "../../src/model/description.js";
import { forward } from "../../src/model/forward.js";
import { openModel } from "../../src/pipeline/open-model.js";

/** The first MoE block's outputs of all tokens, sequences of `length`: its inputs are those of the original. */
export async function firstOutputs(path: string, ids: Int32Array, length: number): Promise<Float32Array> {
  const { checkpoint, model } = await openModel(path);
  const backend = createNativeBackend({ precision: "f32", threads: 2 });
  const first = model.layers.find(isMoe)!.index;
  let outputs: Float32Array | undefined;
  await forward(checkpoint, model, backend, [{ sequences: ids.length / length, length, ids }], {
    moe: (layer, _, __, ___, output) => {
      if (layer === first) outputs = output.slice();
    },
  });
  await checkpoint.close();
  return outputs!;
}

/** Squared differences of outputs from those that are wanted, as a share of the squares of these. */
export function lost(outputs: Float32Array, wanted: Float32Array): number {
  let [difference, all] = [0, 0];
  for (const [i, value] of wanted.entries()) {
    difference += (outputs[i]! - value) ** 2;
    all += value ** 2;
  }
  return difference / all;
}
