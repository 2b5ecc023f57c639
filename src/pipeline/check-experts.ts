import { ReamError } from "../errors.js";
import { isMoe, type ModelDescription } from "../model/description.js";
import { expertCounts } from "../model/router.js";

/** What a model's numbers of experts may be after compression. */
export interface ExpertLimits {
  readonly experts: number;
  readonly topK: number;
  /** The number is a multiple of this: the router's groups stay equally large. */
  readonly step: number;
  readonly least: number;
}

export function expertLimits({ experts, topK, layers }: ModelDescription): ExpertLimits {
  return { experts, topK, ...expertCounts(layers.find(isMoe)!.feedForward.router) };
}

/** The number of experts to keep, checked: each token has to find its top k, and the router's groups stay equally large. */
export function checkExperts(experts: number | undefined, model: ExpertLimits): number {
  if (experts === undefined) {
    throw new ReamError("OPTION_MISSING", "the number of experts to keep was not given", {
      hint: `Give --experts N; the model has ${model.experts} in each layer.`,
    });
  }
  const { step, least } = model;
  const fail = (what: string): never => {
    const numbers = step === 1 ? "a number" : `a multiple of ${step}`;
    throw new ReamError("EXPERTS_RANGE", what, {
      where: "--experts",
      hint: `Give ${numbers} from ${least} to ${model.experts}; a multiple of 8 suits every engine.`,
    });
  };
  if (experts > model.experts) fail(`${experts} experts are more than the ${model.experts} of the model`);
  if (experts < model.topK) fail(`${experts} experts are fewer than the ${model.topK} that each token uses`);
  if (experts % step !== 0) fail(`${experts} experts cannot be divided among the ${step} groups of the router`);
  if (experts < least) fail(`${experts} experts are too few for the ${step} groups of the router`);
  return experts;
}
