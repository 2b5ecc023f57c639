import type { Plan } from "../compress/plan.js";
import type { Settings } from "../compress/settings.js";
import type { Backend } from "../engine/backend.js";
import { sha256 } from "../sha256.js";
import { VERSION } from "../version.js";
import type { OpenedModel } from "./open-model.js";
import type { ResolvedCompressOptions } from "./options.js";
import { fileDigest, modelIdentity } from "./source-identity.js";

/** Everything that an output's bytes depend on, by name: a short text for each, a digest where there is much to say. */
export type OutputIdentity = Readonly<Record<string, string>>;

/** What decides the plans: settings and the calibration's digest, or the plan that was given. */
export type PlanInput = Plan | { readonly settings: Settings; readonly calibration: string };

export async function outputIdentity(
  options: ResolvedCompressOptions,
  { checkpoint, folder, model }: OpenedModel,
  input: PlanInput,
  backend: Backend,
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
    engine: [backend.name, backend.precision, backend.variant].join(" "),
  };
}

/** The identity in one word. */
export function fingerprintOf(identity: OutputIdentity): string {
  return sha256(JSON.stringify(Object.entries(identity).sort()));
}
