import type { Checkpoint } from "../checkpoint/checkpoint.js";
import type { JsonObject } from "../checkpoint/json.js";
import { ReamError } from "../errors.js";
import type { TensorNames } from "./architectures/parts.js";
import { ARCHITECTURES } from "./architectures/registry.js";
import { ConfigReader } from "./config.js";
import { isMoe, type LayerDescription, type ModelDescription, type RouterDescription } from "./description.js";
import type { MixerDescription } from "./mixers/descriptions.js";
import { readQuantisation } from "./quantisation.js";
import { expectWeight } from "./read-weight.js";
import { expertCounts } from "./router.js";
import { layerTensors, outerTensors } from "./tensor-list.js";
import { hasWeight } from "./weight-parts.js";

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
  const quantisation = readQuantisation(reader)?.method;
  const { root, tensors: shapes } = tensors;
  const named = { ...(root && { root }), ...(shapes && { tensors: shapes }) };
  const described = withinOneEmbedding(describe(reader, { ...named, has: (name) => hasWeight(tensors, name) }));
  const model = quantisation === undefined ? described : { ...described, quantisation };
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
  for (const { feedForward } of model.layers.filter(isMoe)) checkRouter(feedForward.router, model.experts);
  for (const { mixer } of model.layers) checkHeads(mixer);
  return model;
}

/**
 * LongRoPE has other angles for sequences beyond the original context. Keys that are kept would have the old ones, so that
 * the original context is all that answers may have. They also end where the model's computation can no longer be followed.
 */
function withinOneEmbedding(model: ModelDescription): ModelDescription {
  const limits = model.layers.flatMap(({ mixer }) => {
    const scaling = "rope" in mixer ? mixer.rope?.scaling : undefined;
    return scaling?.kind === "longrope" ? [scaling.originalPositions] : [];
  });
  return { ...model, maxPositions: Math.min(model.maxPositions, model.exactPositions ?? Infinity, ...limits) };
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

function checkRouter(router: RouterDescription, experts: number): void {
  const { topK, groups, sparseMixer } = router;
  const { step, least } = expertCounts(router);
  const fail = (what: string): never => {
    throw new ReamError("CONFIG_VALUE", what, { where: "config.json" });
  };
  if (groups !== undefined && (groups.kept > groups.count || experts % step !== 0 || experts < least)) {
    fail(`${experts} experts, ${topK} a token, do not fit ${groups.count} groups of which ${groups.kept} are used`);
  }
  if (sparseMixer !== undefined && topK !== 2) fail(`SparseMixer chooses 2 experts, not ${topK}`);
}

/** Checks that the checkpoint holds every tensor that the description names, in the shape it should have. */
export function checkTensors(checkpoint: Checkpoint, model: ModelDescription): void {
  for (const { name, shape } of outerTensors(model)) expectWeight(checkpoint, name, shape);
  for (const layer of model.layers) checkLayerTensors(checkpoint, model, layer);
}

/** As `checkTensors`, for one layer. */
export function checkLayerTensors(checkpoint: Checkpoint, model: ModelDescription, layer: LayerDescription): void {
  const { mixer, feedForward, norms } = layerTensors(layer, model.hiddenSize);
  for (const { name, shape } of [...mixer, ...feedForward, ...norms]) expectWeight(checkpoint, name, shape);
  if (!isMoe(layer)) return;
  const { weight, bias, selectionBias, expertScale } = layer.feedForward.router;
  expectWeight(checkpoint, weight, [model.experts, model.hiddenSize]);
  if (bias !== undefined) checkpoint.expectShape(bias, [model.experts]);
  if (expertScale !== undefined) checkpoint.expectShape(expertScale, [model.experts]);
  if (selectionBias !== undefined) {
    const flat = checkpoint.info(selectionBias).shape.length === 1;
    checkpoint.expectShape(selectionBias, flat ? [model.experts] : [1, model.experts]);
  }
  layer.feedForward.experts.check(checkpoint);
}
