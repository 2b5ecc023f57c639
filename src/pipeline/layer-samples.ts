import { MeanSample } from "../compress/mean-sample.js";
import { layerSeed, needsSamples, TokenSamples } from "../compress/samples.js";
import { sampledTokens } from "../compress/settings.js";
import { ReamError } from "../errors.js";
import { isMoe } from "../model/description.js";
import type { MoeBlock } from "../model/moe.js";
import type { LayerLoopOptions } from "./layer-loop.js";
import type { RecordedSamples } from "./recorded-samples.js";

/** What takes the tokens for the activations of a layer's experts; undefined where nothing is aligned by them. */
export async function layerSamples(options: LayerLoopOptions, layer: number): Promise<TokenSamples | undefined> {
  const { settings, model, seed, recorded, batches } = options;
  if (!needsSamples(settings)) return undefined;
  const { hidden } = model.layers.find(isMoe)!.feedForward.experts;
  if (recorded !== undefined) {
    const found = await recorded(layer);
    checkRecorded(found, options, layer);
    return TokenSamples.recorded(hidden, found.indices, model.experts, found.samples);
  }
  const ownSeed = layerSeed(seed, layer);
  const share = (parts: number) => Math.max(1, Math.floor(settings.samples / parts));
  if (settings.sampling === "per-expert") return TokenSamples.perExpert(hidden, share(batchCount(options)), ownSeed);
  const sequences = batches.reduce((sum, batch) => sum + batch.sequences, 0);
  return TokenSamples.shared(hidden, share(sequences), ownSeed);
}

/** What takes the tokens for the mean outputs; undefined: they are all tokens. */
export function meanSample(
  { settings, backend, batches, seed }: LayerLoopOptions,
  layer: number,
  block: MoeBlock,
): MeanSample | undefined {
  const tokens = batches.reduce((sum, { ids }) => sum + ids.length, 0);
  const sampled = sampledTokens(settings);
  if (sampled === undefined || tokens <= sampled) return undefined;
  const sequences = batches.reduce((sum, batch) => sum + batch.sequences, 0);
  const perSequence = Math.max(1, Math.floor(sampled / sequences));
  // Other experts than the model's own may be taken for the routed ones, and those of scaled inputs are not those of inputs.
  const routedKnown = settings.routing === "model" && block.description.router.scalesInputs !== true;
  const own = layerSeed(seed, layer);
  return new MeanSample(backend, block, { gated: settings.gatedOutputs, perSequence, seed: own, routedKnown });
}

/**
 * Number that means over batches divide by. The official code takes the number of whole batches, also where a last,
 * smaller one is added.
 */
export function batchCount({ batches, settings }: LayerLoopOptions): number {
  if (settings.statistics !== "batch-means" || settings.batchSequences === 0) return batches.length;
  const sequences = batches.reduce((sum, batch) => sum + batch.sequences, 0);
  return Math.max(1, Math.floor(sequences / settings.batchSequences));
}

function checkRecorded(
  { indices, samples }: RecordedSamples,
  { batches, model, settings }: LayerLoopOptions,
  layer: number,
): void {
  const perBatch = model.experts * samples;
  // Exact sums leave padding out, so that indices into whole batches would mean other tokens.
  const padded = settings.statistics !== "batch-means" && batches.some(({ mask }) => mask !== undefined);
  const inside = (token: number, i: number) => token >= 0 && token < batches[Math.floor(i / perBatch)]!.ids.length;
  if (!padded && indices.length === batches.length * perBatch && indices.every(inside)) return;
  throw new ReamError("SAMPLED_TOKENS", `the sampled tokens of layer ${layer} do not fit the calibration tokens`, {
    where: "--sampled-tokens",
    hint:
      `Expected indices below the tokens of a batch, in shape [${batches.length}, ${model.experts}, samples]; ` +
      "with padding only --statistics batch-means takes them.",
  });
}
