import type { Plan } from "../compress/plan.js";
import type { Settings } from "../compress/settings.js";
import type { Backend } from "../engine/backend.js";
import { sha256 } from "../sha256.js";
import { VERSION } from "../version.js";
import type { OpenedModel } from "./open-model.js";
import type { ResolvedCompressOptions } from "./options.js";
import type { RefitPlan } from "./reconstruct/refit-plan.js";
import type { RouterPlan } from "./router/router-plan.js";
import { fileDigest, modelIdentity } from "./source-identity.js";
import type { StepPlan } from "./steps/step-plan.js";

/** Everything that an output's bytes depend on, by name: a short text for each, a digest where there is much to say. */
export type OutputIdentity = Readonly<Record<string, string>>;

/**
 * What decides plans and steps: settings and the calibration's digest, or the plan that was given, with the digest where
 * steps look at text.
 */
export type PlanInput =
  | Plan
  | { readonly plan: Plan; readonly calibration: string }
  | { readonly settings: Settings; readonly calibration: string; readonly tolerance?: number };

export async function outputIdentity(
  options: ResolvedCompressOptions,
  { checkpoint, folder, model }: OpenedModel,
  input: PlanInput,
  backend: Backend,
  {
    steps,
    refit,
    router,
  }: {
    readonly steps?: StepPlan | undefined;
    readonly refit?: RefitPlan | undefined;
    readonly router?: RouterPlan | undefined;
  } = {},
): Promise<OutputIdentity> {
  const { experts, method, seed, shards, sampledTokens, outputDtype, predictionLayers } = options;
  // Nothing else: paths and the number of threads do not matter.
  return {
    version: VERSION,
    source: await modelIdentity({ checkpoint, folder }),
    family: model.family,
    input: sha256(JSON.stringify(input)),
    target: JSON.stringify([experts, method, seed, shards, outputDtype, predictionLayers ?? "as possible"]),
    sampled: sampledTokens === undefined ? "none" : await fileDigest(sampledTokens),
    ...(options.guard && { guard: "yes" }),
    ...(refit !== undefined && { reconstruct: JSON.stringify(refit) }),
    ...(router !== undefined && { router: JSON.stringify(router) }),
    ...(steps !== undefined && { steps: describeSteps(steps) }),
    engine: [backend.name, backend.precision, backend.variant].join(" "),
  };
}

function describeSteps({ steps, parts, dynamicActivations, damping, activationOrder, leastTokens }: StepPlan): string {
  return JSON.stringify([
    steps.map(({ text }) => text),
    [...parts].sort(),
    dynamicActivations,
    damping,
    activationOrder,
    leastTokens,
  ]);
}

/** The identity in one word. */
export function fingerprintOf(identity: OutputIdentity): string {
  return sha256(JSON.stringify(Object.entries(identity).sort()));
}
