import type { Checkpoint } from "../../checkpoint/checkpoint.js";
import { attentionExperts, isMoe, type ModelDescription } from "../../model/description.js";
import { quantisationOf, storedNumbers } from "../../model/quantisation.js";
import { storedNames } from "../../model/read-weight.js";
import { routerNames } from "../../model/router.js";
import { expertTargets } from "../expert-targets.js";
import { compressedModel } from "../prediction-layers.js";

/** The size of a checkpoint that has fewer experts. */
export interface ReducedSize {
  readonly experts: number;
  readonly parameters: number;
  /** Of all tensors, each in the format that it has in the source. */
  readonly bytes: number;
}

/**
 * Sizes with the expert counts that are worth a look. Exact, also of quantised weights: every expert has equally many bytes
 * and a row of the router, and nothing else changes.
 */
export function reducedSizes(checkpoint: Checkpoint, model: ModelDescription): ReducedSize[] {
  const perExpert = new Set(
    compressedModel(checkpoint, model)
      .layers.filter(isMoe)
      .flatMap((layer) => [layer.feedForward, attentionExperts(layer) ?? []].flat())
      .flatMap(({ experts, router }) => [...experts.names, ...routerNames(router)])
      .flatMap((name) => storedNames(checkpoint, name)),
  );
  const quantisation = quantisationOf(checkpoint);
  const total = { parameters: 0, bytes: 0 };
  const ofExperts = { parameters: 0, bytes: 0 };
  for (const info of checkpoint.tensors.values()) {
    for (const sum of perExpert.has(info.name) ? [total, ofExperts] : [total]) {
      sum.parameters += storedNumbers(info, quantisation);
      sum.bytes += info.bytes;
    }
  }
  const less = (kind: keyof typeof total, experts: number) =>
    total[kind] - (ofExperts[kind] / model.experts) * (model.experts - experts);
  return expertTargets(model).map((experts) => ({
    experts,
    parameters: less("parameters", experts),
    bytes: less("bytes", experts),
  }));
}
