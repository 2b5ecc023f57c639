import type { WeightFormatName } from "../checkpoint/quantised/weight-format.js";
import { KEEP_ALL } from "../compress/plan.js";
import { resolveSettings } from "../compress/settings.js";
import { parseSteps } from "../compress/steps/step.js";
import { ReamError } from "../errors.js";
import type { LinearPart } from "../model/linear-weights.js";
import type { ReadManifest } from "../report/gather/manifest.js";
import { type Candidate, isMethod } from "./candidates.js";

/** A score in per cent. */
export interface Score {
  readonly value: number;
  readonly standardError: number | undefined;
}

/** What a model scored. */
export interface Scores {
  /** Means over multiple-choice and generative tasks, and the mean of the two. */
  readonly mc?: Score | undefined;
  readonly gen?: Score | undefined;
  readonly avg?: Score | undefined;
  /** Kullback-Leibler divergence from the original on held-out text in nats, the mean of its domains. */
  readonly kl?: number | undefined;
  /** What was asked: averages of other tasks are not to be compared. */
  readonly tasks: string;
  /** Domains of the held-out text. */
  readonly domains: string;
}

/** A result of `ream evaluate` or `ream study` for a candidate, or for the model itself. */
export interface Measurement extends Scores {
  readonly candidate: Candidate;
  /** What else was decided when the model was made: calibration mix and changed settings. */
  readonly variant: string;
  /** Folder of the results, and the model's name in it. */
  readonly from: string;
}

/** What a model's candidates can be. */
export interface CandidateRules {
  readonly formats: readonly WeightFormatName[];
  /** Parts of its layers with linear weights: a candidate's format is that of all of them. */
  readonly parts: readonly LinearPart[];
}

/** The candidate that a manifest tells of, or why it is none. */
export function candidateOf(
  { method, experts, outputDtype, then = [], steps, settings, calibration }: ReadManifest,
  { formats, parts }: CandidateRules,
): { readonly candidate: Candidate; readonly variant: string } | { readonly reason: string } {
  if (method !== KEEP_ALL && !isMethod(method)) return { reason: `its method ${JSON.stringify(method)} is not known` };
  if (outputDtype !== "same") return { reason: `its tensors were written as ${outputDtype}` };
  const step = quantisation(then, formats);
  if (step === "none") return { reason: `its steps (${then.join(", ")}) are not one weight format of this model` };
  if (steps !== undefined && !parts.every((part) => steps.parts.includes(part)))
    return { reason: `${then.join(", ")} was done to ${steps.parts.join(", ")} alone` };
  const kept = experts.after;
  // Settings say how experts were chosen: where all were kept, nothing was.
  const usual = method === KEEP_ALL ? undefined : (resolveSettings(method) as Record<string, unknown>);
  const changed = Object.entries(settings ?? {}).filter(([key, value]) => usual !== undefined && usual[key] !== value);
  const tokens = calibration?.domains.reduce((sum, domain) => sum + domain.tokens, 0) ?? 0;
  const mix = calibration?.domains.map(({ name, tokens: own }) => `${name} ${((100 * own) / tokens).toFixed(0)} %`);
  return {
    candidate: {
      experts: kept,
      method: method === KEEP_ALL || kept === experts.before ? undefined : method,
      format: step?.format,
      ...(step?.solver === "gptq" && { solver: "gptq" }),
    },
    variant: [...(mix === undefined ? [] : [mix.join(" ")]), ...changed.map(([key, value]) => `${key}=${value}`)].join(
      ", ",
    ),
  };
}

/** The weight format of steps that are nothing else; undefined where there are no steps, "none" for all others. */
function quantisation(then: readonly string[], formats: readonly WeightFormatName[]) {
  if (then.length === 0) return undefined;
  try {
    const [step, ...more] = parseSteps(then);
    if (step?.kind !== "quantise" || more.length > 0) return "none";
    const { format, solver } = step;
    return formats.includes(format.name) ? { format: format.name, solver } : "none";
  } catch (error) {
    if (error instanceof ReamError) return "none";
    throw error;
  }
}
