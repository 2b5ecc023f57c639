import { ReamError } from "../errors.js";
import type { OpenedModel } from "./open-model.js";

/** Refuses to compress a quantised model: its experts cannot be merged as they are stored. */
export function refuseQuantised({ name, model }: Pick<OpenedModel, "name" | "model">): void {
  if (model.quantisation === undefined) return;
  throw new ReamError("QUANTISED_SOURCE", `${name} is quantised (${model.quantisation}) and cannot be compressed`, {
    where: "config.json quantization_config",
    hint: "It can be run and evaluated. To compress, use the unquantised (bfloat16) checkpoint of the same model.",
  });
}
