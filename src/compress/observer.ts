import { decode } from "../checkpoint/dtypes.js";
import type { Backend, Routing } from "../engine/backend.js";
import type { TokenBatch } from "../model/layer.js";
import type { MoeBlock, MoeOutput, MoeTensors } from "../model/moe.js";
import { notFinite } from "./not-finite.js";
import { pickRows } from "./rows.js";
import { emptySums, type RoutedSums, saliencyOf } from "./saliency.js";
import type { TokenSamples } from "./samples.js";
import type { Settings } from "./settings.js";

/** What a layer's plan is made from. */
export interface LayerObservation {
  /** `[experts]` */
  readonly saliency: Float64Array;
  /** Tokens routed to each expert. */
  readonly routed: Float64Array;
  readonly gateGram: Float64Array | undefined;
  /** `[experts, hidden]` */
  readonly meanOutputs: Float64Array | undefined;
  readonly tokenCosines: Float64Array | undefined;
  readonly samples: TokenSamples | undefined;
}

/** A batch as statistics see it: only the tokens that count. */
interface CountedTokens {
  readonly x: Float32Array;
  readonly logits: Float32Array;
  readonly scores: Float32Array;
  readonly routing: Routing;
  readonly norms: Float32Array;
}

/** Accumulates the statistics of one layer that the settings ask for, batch by batch. */
export class LayerObserver {
  private readonly sums: RoutedSums;
  private readonly saliencyMeans: Float64Array;
  private readonly gateGram: Float64Array | undefined;
  private readonly activations: Float64Array | undefined;
  /** `[experts]`: sums of the factors of `activations`. */
  private readonly factors: Float64Array;
  private readonly cosines: Float64Array | undefined;
  private readonly batchActivations: Float64Array | undefined;

  /** @param batches how many batches a mean of batch means divides by */
  constructor(
    private readonly backend: Backend,
    private readonly block: MoeBlock,
    private readonly settings: Settings,
    private readonly batches: number,
    private readonly samples: TokenSamples | undefined,
  ) {
    const { count, width } = block.experts;
    const meanOutputs = settings.outputSimilarity === "mean-cosine" || settings.grouping === "hierarchical";
    this.sums = emptySums(count);
    this.saliencyMeans = new Float64Array(count);
    this.gateGram = settings.gateSimilarity === "none" ? undefined : new Float64Array(count * count);
    this.activations = meanOutputs ? new Float64Array(count * width) : undefined;
    this.batchActivations = meanOutputs ? new Float64Array(count * width) : undefined;
    this.factors = new Float64Array(count);
    this.cosines = settings.outputSimilarity === "token-cosine" ? new Float64Array(count * count) : undefined;
  }

  /** Adds a batch: x `[tokens, hidden]` is the block's input, result what the block made of it. */
  add(index: number, x: Float32Array, result: MoeOutput, batch: TokenBatch): void {
    const { backend, block, settings } = this;
    const experts = block.experts.count;
    const counted = countedTokens(x, result, settings.statistics === "sums" ? batch.mask : undefined, experts);
    if (counted.routing.tokens === 0) return;
    this.requireFinite({ "router logits": counted.logits, "norms of expert outputs": counted.norms });
    this.addRouted(counted);
    if (this.gateGram) backend.addTransposedProduct(this.gateGram, counted.logits, counted.logits, experts, experts);
    if (this.activations && this.batchActivations) {
      this.batchActivations.fill(0);
      const factors = settings.gatedOutputs ? counted.scores : undefined;
      backend.addGatedActivations(this.batchActivations, counted.x, block.experts, factors);
      const share = settings.statistics === "sums" ? 1 : 1 / (counted.routing.tokens * this.batches);
      for (const [i, value] of this.batchActivations.entries()) this.activations[i]! += value * share;
      for (const [e, value] of sumsOfFactors(factors, counted.routing.tokens, experts).entries()) {
        this.factors[e]! += value * share;
      }
    }
    if (this.cosines) backend.addOutputCosines(this.cosines, counted.x, block.experts);
    this.samples?.add(index, counted.x);
  }

  /**
   * The finished statistics. The down projections turn mean activations into mean outputs: both are linear. A bias of
   * theirs counts with the mean factor.
   * Throws `NOT_FINITE` where a statistic is not a number: no plan that is made from it could be trusted.
   */
  finish(tensors: MoeTensors): LayerObservation {
    const { tokens, routed } = this.sums;
    const { statistics, saliency } = this.settings;
    const activationShare = statistics === "sums" ? 1 / tokens : 1;
    const observation = {
      saliency: statistics === "sums" ? saliencyOf(this.sums, saliency) : this.saliencyMeans,
      routed,
      gateGram: this.gateGram,
      meanOutputs:
        this.activations &&
        this.outputsOf(
          this.activations.map((v) => v * activationShare),
          this.factors.map((v) => v * activationShare),
          tensors,
        ),
      tokenCosines: this.cosines?.map((value) => value / tokens),
      samples: this.samples,
    };
    const { gateGram, meanOutputs, tokenCosines } = observation;
    this.requireFinite({ saliency: observation.saliency, gateGram, meanOutputs, tokenCosines });
    return observation;
  }

  private requireFinite(statistics: Record<string, Float32Array | Float64Array | undefined>): void {
    for (const [what, values] of Object.entries(statistics)) {
      if (values === undefined || values.every(Number.isFinite)) continue;
      throw notFinite(`${what} of the block with router ${this.block.description.router.weight}`);
    }
  }

  private addRouted({ routing, norms, scores }: CountedTokens): void {
    const experts = this.block.experts.count;
    const batch = emptySums(experts);
    batch.tokens = routing.tokens;
    for (let pair = 0; pair < routing.selected.length; pair++) {
      const expert = routing.selected[pair]!;
      const score = scores[Math.floor(pair / routing.topK) * experts + expert]!;
      const contribution = gateOf(this.settings.gate, routing.weights[pair]!, score) * norms[pair]!;
      batch.routed[expert]! += 1;
      batch.contribution[expert]! += contribution;
      batch.energy[expert]! += contribution ** 2;
    }
    if (this.settings.statistics === "batch-means") {
      // The official code's frequency is the count in a batch, not the share.
      const means = this.settings.saliency === "frequency" ? batch.routed : saliencyOf(batch, this.settings.saliency);
      for (const [e, value] of means.entries()) this.saliencyMeans[e]! += value / this.batches;
    }
    this.sums.tokens += batch.tokens;
    for (const key of ["routed", "contribution", "energy"] as const) {
      for (const [e, value] of batch[key].entries()) this.sums[key][e]! += value;
    }
  }

  private outputsOf(activations: Float64Array, factors: Float64Array, { experts }: MoeTensors): Float64Array {
    const { width, hidden } = this.block.experts;
    const outputs = new Float64Array(experts.length * hidden);
    for (const [e, { down, downBias }] of experts.entries()) {
      const mean = Float32Array.from(activations.subarray(e * width, (e + 1) * width));
      outputs.set(this.backend.product(mean, decode(down), width), e * hidden);
      if (downBias === undefined) continue;
      for (const [i, bias] of decode(downBias).entries()) outputs[e * hidden + i]! += factors[e]! * bias;
    }
    return outputs;
  }
}

function gateOf(kind: Settings["gate"], weight: number, score: number): number {
  switch (kind) {
    case "combined":
      return weight;
    case "scores":
      return score;
    case "scores-squared":
      return score * score;
  }
}

/** Sum over the tokens of each expert's factors `[tokens, experts]`; undefined: 1 everywhere. */
function sumsOfFactors(factors: Float32Array | undefined, tokens: number, experts: number): Float64Array {
  if (factors === undefined) return new Float64Array(experts).fill(tokens);
  const sums = new Float64Array(experts);
  for (const [i, factor] of factors.entries()) sums[i % experts]! += factor;
  return sums;
}

/** The rows of a batch that are tokens, not padding. */
function countedTokens(
  x: Float32Array,
  result: MoeOutput,
  mask: Uint8Array | undefined,
  experts: number,
): CountedTokens {
  const { router, norms } = result;
  const { logits, scores, routing } = router;
  if (mask === undefined || mask.every((value) => value !== 0)) return { x, logits, scores, routing, norms };
  const rows = Array.from(mask.keys()).filter((row) => mask[row] !== 0);
  const hidden = x.length / routing.tokens;
  const { topK } = routing;
  const selected = new Int32Array(rows.length * topK);
  for (const [i, row] of rows.entries())
    selected.set(routing.selected.subarray(row * topK, (row + 1) * topK), i * topK);
  return {
    x: pickRows(x, rows, hidden),
    logits: pickRows(logits, rows, experts),
    scores: pickRows(scores, rows, experts),
    routing: { ...routing, tokens: rows.length, selected, weights: pickRows(routing.weights, rows, topK) },
    norms: pickRows(norms, rows, topK),
  };
}
