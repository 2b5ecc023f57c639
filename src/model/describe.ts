import type { Checkpoint } from "../checkpoint/checkpoint.js";
import type { JsonObject } from "../checkpoint/json.js";
import { ReamError } from "../errors.js";
import { describeQwen3Moe } from "./architectures/qwen3-moe.js";
import { ConfigReader } from "./config.js";
import { isMoe, type ModelDescription, type RouterDescription } from "./description.js";
import { expertCounts } from "./router.js";

/** Every family this program knows, by `model_type`. A new one is one file in architectures/ and one line here. */
const ARCHITECTURES: Readonly<Record<string, (config: ConfigReader) => ModelDescription>> = {
  qwen3_moe: describeQwen3Moe,
};

/** Makes a model description from config.json, and checks what the sizes say about each other. */
export function describeModel(config: JsonObject): ModelDescription {
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
  const model = describe(reader);
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
  for (const { attention } of model.layers) {
    if (attention.heads % attention.keyValueHeads !== 0 || attention.headSize % 2 !== 0) {
      const what = `${attention.heads} heads of ${attention.headSize} over ${attention.keyValueHeads} key/value heads`;
      throw new ReamError("CONFIG_VALUE", `${what} do not divide evenly`, { where: "config.json" });
    }
  }
  return model;
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
  const { hiddenSize: hidden, vocabularySize: vocabulary } = model;
  checkpoint.expectShape(model.embedding, [vocabulary, hidden]);
  checkpoint.expectShape(model.outputHead, [vocabulary, hidden]);
  checkpoint.expectShape(model.finalNorm, [hidden]);
  for (const layer of model.layers) {
    const { attention, feedForward } = layer;
    checkpoint.expectShape(layer.attentionNorm, [hidden]);
    checkpoint.expectShape(layer.feedForwardNorm, [hidden]);
    for (const norm of [attention.queryNorm, attention.keyNorm]) {
      if (norm !== undefined) checkpoint.expectShape(norm, [attention.headSize]);
    }
    const dense = feedForward.kind === "dense" ? [feedForward.gate, feedForward.up, feedForward.down] : [];
    for (const { weight, bias, shape } of [
      attention.query,
      attention.key,
      attention.value,
      attention.output,
      ...dense,
    ]) {
      checkpoint.expectShape(weight, shape);
      if (bias !== undefined) checkpoint.expectShape(bias, [shape[0]]);
    }
    if (feedForward.kind === "moe") {
      const { weight, bias, selectionBias } = feedForward.router;
      checkpoint.expectShape(weight, [model.experts, hidden]);
      if (bias !== undefined) checkpoint.expectShape(bias, [model.experts]);
      if (selectionBias !== undefined) {
        const flat = checkpoint.info(selectionBias).shape.length === 1;
        checkpoint.expectShape(selectionBias, flat ? [model.experts] : [1, model.experts]);
      }
      feedForward.experts.check(checkpoint);
    }
  }
}
