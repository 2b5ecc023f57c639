import { loadCalibration } from "../calibration/load-calibration.js";
import { calibrationOptions } from "../calibration/options.js";
import type { Backend } from "../engine/backend.js";
import { lastHidden, measureHeldOut } from "../evaluate/held-out.js";
import { forward } from "../model/forward.js";
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
  judging: Pick<StudyJudging, "heldOut" | "heldOutSequences" | "length">,
  signal: AbortSignal,
): Promise<Pick<JobResult, "heldOut" | "rank" | "layerErrors">> {
  const domains = Object.entries(judging.heldOut);
  if (domains.length === 0) return {};
  const heldOut: NonNullable<JobResult["heldOut"]> = {};
  const ranks: number[] = [];
  const errors = new LayerErrors();
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
    if (candidate !== original) await errors.add(original, candidate, backend, batches[0]!);
  }
  const rank = ranks.reduce((sum, value) => sum + value, 0) / ranks.length;
  return { heldOut, rank, ...(candidate !== original && { layerErrors: errors.relative }) };
}

/** Tokens of a domain on which layers are compared: the original's hidden states of all layers are in memory. */
const COMPARED_TOKENS = 512;

/** Sums of squares over tokens, layer by layer. */
class LayerErrors {
  private readonly differences: number[] = [];
  private readonly sizes: number[] = [];

  async add(original: OpenedModel, candidate: OpenedModel, backend: Backend, batch: TokenBatch): Promise<void> {
    const sequences = Math.max(1, Math.min(batch.sequences, Math.floor(COMPARED_TOKENS / batch.length)));
    const some: TokenBatch = {
      sequences,
      length: batch.length,
      ids: batch.ids.subarray(0, sequences * batch.length),
      mask: batch.mask?.subarray(0, sequences * batch.length),
    };
    const states: Float32Array[] = [];
    const keep = { hidden: (_layer: number, _batch: number, hidden: Float32Array) => void states.push(hidden.slice()) };
    await forward(original.checkpoint, original.model, backend, [some], keep);
    const compare = (layer: number, _batch: number, hidden: Float32Array) => {
      const wanted = states[layer]!;
      this.differences[layer] = (this.differences[layer] ?? 0) + squares(hidden, (value, i) => value - wanted[i]!);
      this.sizes[layer] = (this.sizes[layer] ?? 0) + squares(wanted, (value) => value);
    };
    await forward(candidate.checkpoint, candidate.model, backend, [some], { hidden: compare });
  }

  get relative(): number[] {
    return this.differences.map((sum, layer) => Math.sqrt(sum / this.sizes[layer]!));
  }
}

function squares(values: Float32Array, term: (value: number, i: number) => number): number {
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += term(values[i]!, i) ** 2;
  return sum;
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
