import { createHash } from "node:crypto";
import { OutputFolder } from "../checkpoint/output.js";
import type { Plan } from "../compress/plan.js";
import type { Settings } from "../compress/settings.js";
import type { Backend } from "../engine/backend.js";
import { VERSION } from "../version.js";
import type { OpenedModel } from "./open-model.js";
import type { ResolvedCompressOptions } from "./options.js";
import { fileDigest, quickIdentity } from "./source-identity.js";

/**
 * The output folder, resumed where an earlier run of the same work left off.
 *
 * @param input what decides the plans: settings and calibration digest, or a plan that was given
 */
export async function openOutput(
  options: ResolvedCompressOptions,
  { checkpoint, folder, model }: OpenedModel,
  input: Plan | { readonly settings: Settings; readonly calibration: string },
  backend: Backend,
): Promise<OutputFolder> {
  const names = [...new Set([...checkpoint.tensors.values()].map(({ file }) => file)), "config.json"];
  const { out, restart, experts, method, seed, shards, sampledTokens } = options;
  // Everything that the output's bytes depend on, and nothing else: paths and the number of threads do not matter.
  const work = {
    version: VERSION,
    source: await quickIdentity(folder, names),
    family: model.family,
    input,
    target: [experts, method, seed, shards, options.outputDtype],
    sampled: sampledTokens === undefined ? undefined : await fileDigest(sampledTokens),
    engine: [backend.name, backend.precision, backend.variant],
  };
  const fingerprint = createHash("sha256").update(JSON.stringify(work)).digest("hex");
  return OutputFolder.create(out!, { fingerprint, source: folder, restart });
}
