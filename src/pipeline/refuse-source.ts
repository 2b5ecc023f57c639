import { ReamError } from "../errors.js";
import type { OpenedModel } from "./open-model.js";

/** Refuses to compress what cannot be compressed yet: quantised models, and families with a reason of their own. */
export function refuseSource({ name, model }: Pick<OpenedModel, "name" | "model">): void {
  if (model.quantisation !== undefined) {
    throw new ReamError("QUANTISED_SOURCE", `${name} is quantised (${model.quantisation}) and cannot be compressed`, {
      where: "config.json quantization_config",
      hint: "It can be run and evaluated. To compress, use the unquantised (bfloat16) checkpoint of the same model.",
    });
  }
  if (model.incompressible !== undefined) {
    throw new ReamError("FAMILY_INCOMPRESSIBLE", `${model.family} cannot be compressed: ${model.incompressible}`, {
      where: "config.json model_type",
      hint: "It can be run and evaluated.",
    });
  }
}
