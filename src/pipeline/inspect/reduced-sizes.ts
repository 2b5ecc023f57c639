import type { Checkpoint } from "../../checkpoint/checkpoint.js";
import { tensorBytes } from "../../checkpoint/safetensors-encode.js";
import type { ModelDescription } from "../../model/description.js";
import { quantisationOf, storedNumbers } from "../../model/quantisation.js";
import { expertTargets } from "../expert-targets.js";
import { outputTensors } from "../output-layout.js";
import { compressedModel } from "../prediction-layers.js";

/** The size of a checkpoint that has fewer experts. */
export interface ReducedSize {
  readonly experts: number;
  readonly parameters: number;
  /** Of all tensors, each in the format that it has in the source. */
  readonly bytes: number;
}

/** Sizes with the expert counts that are worth a look: exact, as the output's tensors are laid out for writing. */
export function reducedSizes(checkpoint: Checkpoint, model: ModelDescription): ReducedSize[] {
  const target = compressedModel(checkpoint, model);
  const quantisation = quantisationOf(checkpoint);
  return expertTargets(model).map((experts) => {
    let [parameters, bytes] = [0, 0];
    for (const tensor of outputTensors(checkpoint, target, experts, undefined)) {
      parameters += storedNumbers(tensor, quantisation);
      bytes += tensorBytes(tensor);
    }
    return { experts, parameters, bytes };
  });
}
