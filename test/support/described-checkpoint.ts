import type { Checkpoint } from "../../src/checkpoint/checkpoint.js";
import { encode } from "../../src/checkpoint/dtypes.js";
import type { JsonObject } from "../../src/checkpoint/json.js";
import type { Tensor } from "../../src/checkpoint/tensor.js";
import { describeModel } from "../../src/model/describe.js";
import { isMoe } from "../../src/model/description.js";
import { routerNames } from "../../src/model/router.js";
import { layerTensors, outerTensors } from "../../src/model/tensor-list.js";
import type { Random } from "../../src/random.js";
import { madeCheckpoint } from "./made-checkpoint.js";

/** Writes a checkpoint of random float32 weights that has every tensor of the model that a config describes, and opens it. */
export function describedCheckpoint(folder: string, config: JsonObject, random: Random): Promise<Checkpoint> {
  const model = describeModel(config);
  const shapes = new Map<string, readonly number[]>();
  const add = ({ name, shape }: { name: string; shape: readonly number[] }) => shapes.set(name, shape);
  for (const tensor of outerTensors(model)) add(tensor);
  for (const layer of model.layers) {
    for (const tensors of Object.values(layerTensors(layer, model.hiddenSize)))
      for (const tensor of tensors) add(tensor);
    if (!isMoe(layer)) continue;
    const { router, experts } = layer.feedForward;
    for (const name of routerNames(router)) add({ name, shape: [experts.count] });
    add({ name: router.weight, shape: [experts.count, model.hiddenSize] });
    for (const output of experts.outputs(experts.count)) add(output);
  }
  const tensor = (shape: readonly number[]): Tensor => {
    const size = shape.reduce((a, b) => a * b, 1);
    // Factors of norms are near 1.
    const values = Float32Array.from({ length: size }, () => (shape.length === 1 ? 1 : 0) + 0.2 * random.normal());
    return { dtype: "F32", shape, data: encode("F32", values) };
  };
  return madeCheckpoint(folder, Object.fromEntries([...shapes].map(([name, shape]) => [name, tensor(shape)])), config);
}
