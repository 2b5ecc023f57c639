import { OutputFolder } from "../checkpoint/output.js";
import { type LayerPlan, type Plan, parseLayerPlan } from "../compress/plan.js";
import type { Settings } from "../compress/settings.js";
import type { Backend } from "../engine/backend.js";
import { ReamError } from "../errors.js";
import { isMoe, type ModelDescription } from "../model/description.js";
import { sha256 } from "../sha256.js";
import { VERSION } from "../version.js";
import type { OpenedModel } from "./open-model.js";
import type { ResolvedCompressOptions } from "./options.js";
import { fileDigest, modelIdentity } from "./source-identity.js";

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
  const { out, restart, experts, method, seed, shards, sampledTokens } = options;
  // Everything that the output's bytes depend on, and nothing else: paths and the number of threads do not matter.
  const work = {
    version: VERSION,
    source: await modelIdentity({ checkpoint, folder }),
    family: model.family,
    input,
    target: [experts, method, seed, shards, options.outputDtype],
    sampled: sampledTokens === undefined ? undefined : await fileDigest(sampledTokens),
    engine: [backend.name, backend.precision, backend.variant],
  };
  const fingerprint = sha256(JSON.stringify(work));
  return OutputFolder.create(out!, { fingerprint, source: folder, restart });
}

/** The plans that the journal holds: those of the first MoE layers, checked. Errors: JOURNAL_DAMAGED. */
export function recordedPlans(output: OutputFolder, model: ModelDescription, kept: number): LayerPlan[] {
  const fail = (what: string): never => {
    throw new ReamError("JOURNAL_DAMAGED", `the journal of the interrupted run is damaged: ${what}`, {
      where: output.partial,
      hint: "Start anew with --restart.",
    });
  };
  const layers = model.layers.filter(isMoe);
  const { experts, router } = layers[0]!.feedForward;
  const block = { width: experts.width, router };
  return output.journal.map((entry, i) => {
    const plan = parseLayerPlan(entry?.plan, { before: model.experts, after: kept }, block, fail);
    return plan.layer === layers[i]?.index ? plan : fail(`entry ${i + 1} is of layer ${plan.layer}`);
  });
}
