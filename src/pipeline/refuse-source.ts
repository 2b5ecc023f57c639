import { ReamError } from "../errors.js";
import type { OpenedModel } from "./open-model.js";
import type { ResolvedCompressOptions } from "./options.js";

/** Refuses families that cannot be compressed, which have a reason of their own. */
export function refuseSource({ model }: Pick<OpenedModel, "model">): void {
  if (model.incompressible !== undefined) {
    throw new ReamError("FAMILY_INCOMPRESSIBLE", `${model.family} cannot be compressed: ${model.incompressible}`, {
      where: "config.json model_type",
      hint: "It can be run and evaluated.",
    });
  }
}

/** Refuses what changes weights after the merge, where these go back to the form of a quantised source: QUANTISED_SOURCE. */
export function refuseChanges(
  { then, reconstruct, outputDtype }: ResolvedCompressOptions,
  { name, model }: Pick<OpenedModel, "name" | "model">,
): void {
  const wanted = then.length > 0 ? "--then" : reconstruct !== "none" ? "--reconstruct" : undefined;
  if (model.quantisation === undefined || wanted === undefined || outputDtype !== "same") return;
  throw new ReamError(
    "QUANTISED_SOURCE",
    `${name} is quantised (${model.quantisation}), and ${wanted} changes its weights`,
    {
      where: wanted,
      hint: "Give --output-dtype bf16 too: the output then is of floats, or of what --then makes of them.",
    },
  );
}
