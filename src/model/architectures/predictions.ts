import type { ModelDescription, Norm } from "../description.js";
import { type DecoderLayer, type Frame, linear, rmsNorm } from "./parts.js";

type Layer = (index: number, prefix: string) => DecoderLayer;
type Predictions = Pick<ModelDescription, "predictions">;

/**
 * Layers for multi-token prediction behind the last decoder layer, as many as `num_nextn_predict_layers` says and the
 * checkpoint has (DeepSeek-V3, GLM-4.5).
 */
export function followingPredictions(frame: Frame, layer: Layer, prefix = "model."): Predictions {
  const { config, tensors, layers, hidden, epsilon } = frame;
  const most = config.number("num_nextn_predict_layers", 0);
  const predictions = [];
  for (let index = layers; index < layers + most; index++) {
    const own = `${prefix}layers.${index}.`;
    if (!tensors.has(`${own}eh_proj.weight`)) break;
    const norm = (name: string): Norm => rmsNorm(`${own}${name}.weight`, hidden, epsilon);
    predictions.push({
      layer: { index, prefix: own, ...layer(index, own) },
      embeddingNorm: norm("enorm"),
      hiddenNorm: norm("hnorm"),
      projection: linear(`${own}eh_proj`, [hidden, 2 * hidden]),
      outputNorm: norm("shared_head.norm"),
    });
  }
  return predictions.length > 0 ? { predictions } : {};
}

/** One layer for multi-token prediction under `mtp.` (Qwen3-Next, Mellum 2). */
export function separatePrediction(
  { tensors, layers, hidden, epsilon }: Frame,
  layer: Layer,
  norm: (weight: string, size: number, epsilon: number) => Norm = rmsNorm,
): Predictions {
  const prefix = "mtp.layers.0.";
  if (!tensors.has("mtp.fc.weight")) return {};
  return {
    predictions: [
      {
        layer: { index: layers, prefix, ...layer(layers, prefix) },
        embeddingNorm: norm("mtp.pre_fc_norm_embedding.weight", hidden, epsilon),
        hiddenNorm: norm("mtp.pre_fc_norm_hidden.weight", hidden, epsilon),
        projection: linear("mtp.fc", [hidden, 2 * hidden]),
        outputNorm: norm("mtp.norm.weight", hidden, epsilon),
      },
    ],
  };
}
