import { ReamError } from "../errors.js";
import { attentionExperts } from "../model/description.js";
import type { OpenedModel } from "./open-model.js";

/** Refuses to compress what cannot be compressed yet: quantised models. */
export function refuseSource({ name, model }: Pick<OpenedModel, "name" | "model">): void {
  if (model.quantisation !== undefined) {
    throw new ReamError("QUANTISED_SOURCE", `${name} is quantised (${model.quantisation}) and cannot be compressed`, {
      where: "config.json quantization_config",
      hint: "It can be run and evaluated. To compress, use the unquantised (bfloat16) checkpoint of the same model.",
    });
  }
}

/** Refuses what observations cannot tell everything of that a plan needs: models whose attention has experts too. */
export function refuseObservation({ name, model }: Pick<OpenedModel, "name" | "model">): void {
  if (!model.layers.some(attentionExperts)) return;
  throw new ReamError(
    "FAMILY_NOT_OBSERVED",
    `observations have no statistics of the experts in the attention of ${name}`,
    {
      where: `config.json model_type ${model.family}`,
      hint: "Compress it in one run, without --observed.",
    },
  );
}
