import { weightFormat } from "../checkpoint/quantised/formats.js";
import {
  WEIGHT_FORMAT_NAMES,
  type WeightFormat,
  type WeightFormatName,
} from "../checkpoint/quantised/weight-format.js";
import { isMoe, type ModelDescription } from "../model/description.js";
import { EXPERT_PARTS, expertShape } from "../model/expert-storage.js";

/** The weight formats that a model can be stored in, and why the others are none. */
export interface ModelFormats {
  readonly usable: ReadonlyMap<WeightFormatName, WeightFormat>;
  readonly refused: readonly { readonly format: WeightFormatName; readonly reason: string }[];
}

/** Formats that can store matrices of the routed experts, which are most of a model. */
export function formatsOf({ layers, family, quantisation }: ModelDescription): ModelFormats {
  const { experts } = layers.find(isMoe)!.feedForward;
  const usable = new Map<WeightFormatName, WeightFormat>();
  const refused: ModelFormats["refused"][number][] = [];
  for (const name of WEIGHT_FORMAT_NAMES) {
    const format = weightFormat(name);
    // Experts are quantised with all their matrices or not at all.
    const reason = EXPERT_PARTS.map((part) => format.refusal(expertShape(experts, part))).find(
      (found) => found !== undefined,
    );
    if (quantisation !== undefined) refused.push({ format: name, reason: `it is quantised already (${quantisation})` });
    else if (experts.biased === true) refused.push({ format: name, reason: `experts of ${family} have biases` });
    else if (experts.together === true)
      refused.push({ format: name, reason: `experts of ${family} are read in one tensor` });
    else if (reason !== undefined) refused.push({ format: name, reason });
    else usable.set(name, format);
  }
  return { usable, refused };
}
