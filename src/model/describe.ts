import type { Checkpoint } from "../checkpoint/checkpoint.js";
import type { JsonObject } from "../checkpoint/json.js";
import { ReamError } from "../errors.js";
import type { TensorNames } from "./architectures/parts.js";
import { ARCHITECTURES } from "./architectures/registry.js";
import { ConfigReader } from "./config.js";
import { isMoe, type ModelDescription } from "./description.js";
import type { MixerDescription } from "./mixers/descriptions.js";
import { layerTensors, outerTensors } from "./tensor-list.js";

/**
 * Makes a model description from config.json, and checks what the sizes say about each other. `tensors` tells the layout
 * where a family has several; without it, that of most checkpoints is meant.
 */
export function describeModel(config: JsonObject, tensors: TensorNames = { has: () => true }): ModelDescription {
  const reader = new ConfigReader(config);
  const family = reader.string("model_type");
  const describe = Object.hasOwn(ARCHITECTURES, family) ? ARCHITECTURES[family] : undefined;
  if (describe === undefined) {
    throw new ReamError("FAMILY_UNSUPPORTED", `models of type ${JSON.stringify(family)} are not supported`, {
      where: "config.json model_type",
      hint: `Supported: ${Object.keys(ARCHITECTURES).join(", ")}.`,
    });
  }
  if (reader.has("quantization_config")) {
    throw new ReamError("QUANTISED_SOURCE", "the checkpoint is quantised, which is not supported yet", {
      where: "config.json quantization_config",
      hint: "Use the unquantised (bfloat16) checkpoint of the same model.",
    });
  }
  const model = describe(reader, tensors);
  if (model.topK > model.experts) {
    throw new ReamError("CONFIG_VALUE", `top-k ${model.topK} exceeds the ${model.experts} experts`, {
      where: "config.json",
    });
  }
  if (!model.layers.some(isMoe)) {
    throw new ReamError("NO_EXPERTS", "no layer of the model has experts to merge", {
      where: "config.json",
      hint: "Look at mlp_only_layers and decoder_sparse_step.",
    });
  }
  for (const { mixer } of model.layers) checkHeads(mixer);
  return model;
}

/** Checks that heads divide evenly. */
function checkHeads(mixer: MixerDescription): void {
  const fail = (what: string): never => {
    throw new ReamError("CONFIG_VALUE", `${what} do not divide evenly`, { where: "config.json" });
  };
  if (mixer.kind === "attention") {
    const { heads, keyValueHeads, headSize } = mixer;
    if (heads % keyValueHeads !== 0 || headSize % 2 !== 0)
      fail(`${heads} heads of ${headSize} over ${keyValueHeads} key/value heads`);
  } else if (mixer.kind === "delta-rule" && mixer.valueHeads % mixer.keyHeads !== 0) {
    fail(`${mixer.valueHeads} value heads over ${mixer.keyHeads} key heads`);
  }
}

/** Checks that the checkpoint holds every tensor that the description names, in the shape it should have. */
export function checkTensors(checkpoint: Checkpoint, model: ModelDescription): void {
  for (const { name, shape } of outerTensors(model)) checkpoint.expectShape(name, shape);
  for (const layer of model.layers) {
    const { mixer, feedForward, norms } = layerTensors(layer, model.hiddenSize);
    for (const { name, shape } of [...mixer, ...feedForward, ...norms]) checkpoint.expectShape(name, shape);
    if (isMoe(layer)) {
      checkpoint.expectShape(layer.feedForward.router.weight, [model.experts, model.hiddenSize]);
      layer.feedForward.experts.check(checkpoint);
    }
  }
}
