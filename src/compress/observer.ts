import type { Backend } from "../engine/backend.js";
import type { TokenBatch } from "../model/layer.js";
import type { MoeBlock, MoeOutput, MoeTensors } from "../model/moe.js";
import { countedLengths, countedTokens } from "./counted-tokens.js";
import { meanOutputsOf } from "./mean-outputs.js";
import type { MeanSample, SampledMeans } from "./mean-sample.js";
import { requireFinite, type Statistics } from "./not-finite.js";
import { saliencies, saliencyOf } from "./saliency.js";
import type { TokenSamples } from "./samples.js";
import type { Settings } from "./settings.js";
import { softmaxRouted } from "./softmax-routing.js";
import { addTokens, emptyStatistics, type StatisticSums, wantedBy } from "./statistics.js";

/** What a layer's plan is made from. */
export interface LayerObservation {
  /** `[experts]` */
  readonly saliency: Float64Array;
  /** Tokens routed to each expert. */
  readonly routed: Float64Array;
  /** Sum of the squares of weight x ||E(x)|| of each expert; of exact sums alone. */
  readonly energy: Float64Array;
  readonly gateGram: Float64Array | undefined;
  /** `[experts, hidden]` */
  readonly meanOutputs: Float64Array | undefined;
  readonly tokenCosines: Float64Array | undefined;
  readonly samples: TokenSamples | undefined;
  /** Where the mean outputs are those of a sample of tokens. */
  readonly sampled?: SampledMeans | undefined;
}

/** Accumulates the statistics of one layer that the settings ask for, batch by batch. */
export class LayerObserver {
  private readonly sums: StatisticSums;
  /** Means over batches, where they are what is wanted (official code). */
  private readonly means: { readonly saliency: Float64Array; readonly activations: StatisticSums } | undefined;

  /**
   * @param batches how many batches a mean of batch means divides by
   * @param meanSample takes the tokens of which mean outputs are made; undefined: all
   */
  constructor(
    private readonly backend: Backend,
    private readonly block: MoeBlock,
    private readonly settings: Settings,
    private readonly batches: number,
    private readonly samples: TokenSamples | undefined,
    private readonly meanSample?: MeanSample,
  ) {
    this.sums = this.empty();
    if (settings.statistics === "batch-means") {
      this.means = { saliency: new Float64Array(block.experts.count), activations: this.empty() };
    }
  }

  /** Adds a batch: x `[tokens, hidden]` is what the routed experts see, result what the block made of it. */
  add(index: number, x: Float32Array, result: MoeOutput, batch: TokenBatch): void {
    const { backend, block, settings, means } = this;
    const routed = settings.routing === "softmax" ? softmaxRouted(backend, block, x, result) : result;
    const counted = countedTokens(x, routed, means ? undefined : batch.mask, block.experts.count);
    if (counted.routing.tokens === 0) return;
    this.requireFinite({ "router logits": counted.logits, "norms of expert outputs": counted.norms });
    const sums = means === undefined ? this.sums : this.empty();
    addTokens(sums, backend, block, counted, settings.gatedOutputs);
    if (means !== undefined) this.addMeans(sums, means);
    const sequences = { lengths: countedLengths(batch, means === undefined), keys: batch.keys };
    this.meanSample?.add(counted, sequences);
    this.samples?.add(index, counted.x, sequences);
  }

  /** Adds a batch's means, and its sums of what is no mean. */
  private addMeans(batch: StatisticSums, means: NonNullable<LayerObserver["means"]>): void {
    const { settings, batches, sums } = this;
    // The official code's frequency is the count in a batch, not the share.
    const saliency = settings.saliency === "frequency" ? batch.routed : saliencyOf(batch, settings);
    addTo(means.saliency, saliency, 1 / batches);
    const share = 1 / (batch.tokens * batches);
    addTo(means.activations.activations, batch.activations, share);
    addTo(means.activations.factors, batch.factors, share);
    sums.tokens += batch.tokens;
    addTo(sums.routed, batch.routed, 1);
    addTo(sums.gateGram, batch.gateGram, 1);
    addTo(sums.tokenCosines, batch.tokenCosines, 1);
  }

  /** The finished statistics. Throws `NOT_FINITE` where one is not a number: no plan made from it could be trusted. */
  async finish(tensors: MoeTensors): Promise<LayerObservation> {
    const { means, sums, settings } = this;
    const observation = observationOf(sums, settings, this.samples);
    const sampled = await this.meanSample?.finish(tensors);
    const finished = {
      ...observation,
      saliency: means?.saliency ?? observation.saliency,
      meanOutputs: sampled?.all ?? (await this.exactMeans(tensors)),
      sampled,
    };
    const { saliency, gateGram, meanOutputs, tokenCosines } = finished;
    this.requireFinite({ saliency, gateGram, meanOutputs, tokenCosines });
    return finished;
  }

  /** Mean outputs of all tokens; undefined where no activations are summed. */
  private async exactMeans(tensors: MoeTensors): Promise<Float64Array | undefined> {
    const { means, sums, backend } = this;
    const [{ activations, factors }, share] = means ? [means.activations, 1] : [sums, 1 / sums.tokens];
    if (activations === undefined) return undefined;
    const scaled = { activations: activations.map((a) => a * share), factors: factors.map((f) => f * share) };
    const [outputs] = await meanOutputsOf(backend, [scaled], tensors);
    return outputs;
  }

  /** The method's own saliency by its name; where they are exact sums, then all others. */
  saliencies(): Map<string, Float64Array> {
    const { sums, means, settings } = this;
    const own = [settings.saliency, means?.saliency ?? saliencyOf(sums, settings)] as const;
    return new Map(means === undefined ? [own, ...saliencies(sums, settings.gate)] : [own]);
  }

  private empty(): StatisticSums {
    const { count, width } = this.block.experts;
    const wanted = wantedBy(this.settings);
    return emptyStatistics(count, width, this.meanSample ? { ...wanted, activations: "none" } : wanted);
  }

  private requireFinite(statistics: Statistics): void {
    requireFinite(statistics, this.block.description.router);
  }
}

/** What sums over tokens say, with the mean outputs if their sums are known. */
export function observationOf(
  sums: StatisticSums,
  settings: Settings,
  samples: TokenSamples | undefined,
): LayerObservation {
  const { gateGram, routed, energy, tokens, outputs } = sums;
  return {
    saliency: saliencyOf(sums, settings),
    routed,
    energy: energy.combined,
    gateGram,
    meanOutputs: outputs?.map((value) => value / tokens),
    tokenCosines: sums.tokenCosines?.map((value) => value / tokens),
    samples,
  };
}

/** Adds factor times terms to sums; neither may be there. */
function addTo(sums: Float64Array | undefined, terms: Float64Array | undefined, factor: number): void {
  if (sums === undefined || terms === undefined) return;
  for (let i = 0; i < sums.length; i++) sums[i]! += factor * terms[i]!;
}
