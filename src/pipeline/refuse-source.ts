import { ReamError } from "../errors.js";
import { attentionExperts } from "../model/description.js";
import type { OpenedModel } from "./open-model.js";
import type { ResolvedCompressOptions } from "./options.js";

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

/** Refuses what changes weights after the merge, where these go back to the form of a quantised source: QUANTISED_SOURCE. */
export function refuseChanges(
  { then, outputDtype }: ResolvedCompressOptions,
  { name, model }: Pick<OpenedModel, "name" | "model">,
): void {
  if (model.quantisation === undefined || then.length === 0 || outputDtype !== "same") return;
  throw new ReamError(
    "QUANTISED_SOURCE",
    `${name} is quantised (${model.quantisation}), and --then changes its weights`,
    {
      where: "--then",
      hint: "Give --output-dtype bf16 too: the output then is of floats, or of what --then makes of them.",
    },
  );
}
