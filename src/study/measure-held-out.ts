import { loadCalibration } from "../calibration/load-calibration.js";
import { calibrationOptions } from "../calibration/options.js";
import type { Backend } from "../engine/backend.js";
import { lastHidden, measureHeldOut } from "../evaluate/held-out.js";
import type { TokenBatch } from "../model/layer.js";
import { WeightLoader } from "../model/weight-loader.js";
import { makeBatches } from "../pipeline/batches.js";
import type { OpenedModel } from "../pipeline/open-model.js";
import type { StudyJudging } from "./job.js";
import type { JobResult } from "./job-folder.js";
import { numericalRank } from "./numerical-rank.js";

/** How near a model is to the original on held-out text, by domain, and the rank of its last hidden states. */
export async function measureOnText(
  original: OpenedModel,
  candidate: OpenedModel,
  backend: Backend,
  judging: StudyJudging,
  signal: AbortSignal,
): Promise<Pick<JobResult, "heldOut" | "rank">> {
  const domains = Object.entries(judging.heldOut);
  if (domains.length === 0) return {};
  const heldOut: NonNullable<JobResult["heldOut"]> = {};
  const ranks: number[] = [];
  for (const [domain, source] of domains) {
    signal.throwIfAborted();
    const options = calibrationOptions.parse({
      mix: domain,
      domain: [`${domain}=${source}`],
      sequences: judging.heldOutSequences,
      length: judging.length,
    });
    const { folder, model } = original;
    const text = await loadCalibration(options, { model: folder, vocabularySize: model.vocabularySize });
    const batches = makeBatches(text, { batchSequences: 0 });
    const reference = await lastHidden(original, backend, batches, signal);
    const hidden = candidate === original ? reference : await lastHidden(candidate, backend, batches, signal);
    const { divergence, agreement, perplexity } = await measureHeldOut(reference, hidden, backend, batches);
    heldOut[domain] = { kl: Math.max(0, divergence), agreement, perplexity };
    ranks.push(...(await ranksOf(candidate, backend, batches, hidden.hidden)));
  }
  return { heldOut, rank: ranks.reduce((sum, rank) => sum + rank, 0) / ranks.length };
}

/** Numerical rank of the normed last hidden states of each sequence: what the output matrix sees. */
async function ranksOf(
  { checkpoint, model }: OpenedModel,
  backend: Backend,
  batches: readonly TokenBatch[],
  hidden: readonly Float32Array[],
): Promise<number[]> {
  const loader = new WeightLoader(checkpoint, backend);
  const norm = await loader.norm(model.finalNorm);
  return batches.flatMap(({ sequences, length }, index) => {
    const states = norm(hidden[index]!);
    const size = length * model.hiddenSize;
    return Array.from({ length: sequences }, (_, i) =>
      numericalRank(backend, states.subarray(i * size, (i + 1) * size), model.hiddenSize),
    );
  });
}
