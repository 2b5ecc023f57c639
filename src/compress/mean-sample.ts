import type { ActivationSums, Backend } from "../engine/backend.js";
import type { MoeBlock, MoeTensors } from "../model/moe.js";
import type { RouterOutput } from "../model/router.js";
import type { CountedTokens } from "./counted-tokens.js";
import { type MeanActivations, meanOutputsOf } from "./mean-outputs.js";
import { pickRows } from "./rows.js";
import { type SampledBatch, sampledRows } from "./samples.js";

/** Parts of a sample whose differences tell its error. */
const PARTS = 16;

/** Sums over tokens. */
interface Sums extends MeanActivations {
  tokens: number;
}

/** Mean outputs `[experts, hidden]` of a sample. */
export interface SampledMeans {
  readonly tokens: number;
  readonly all: Float64Array;
  /** The same without each of its parts in turn; none where it has one part only. */
  readonly without: readonly Float64Array[];
}

export interface MeanSampleOptions {
  /** Whether outputs are multiplied by the router's scores. */
  readonly gated: boolean;
  readonly perSequence: number;
  readonly seed: number;
  /** Whether the activations of routed pairs are those that means are made of, so that none of them needs a sample. */
  readonly routedKnown: boolean;
}

/**
 * Mean outputs of all experts from a sample of tokens: to run every expert on every token is what costs most. The same
 * random tokens of each sequence for all experts; which they are depends on the seed and the sequence's key alone.
 *
 * The pairs that the router chose are computed anyway, for every token, and are what most of the gated mean comes from. So
 * they are summed exactly, and the sample stands for the others alone (stratified sampling).
 *
 * A batch's tokens belong to one part, because tokens of one text are alike: what leaving out a part changes is then as
 * large as what other texts would have changed (jackknife by groups).
 */
export class MeanSample {
  /** Of the pairs that were routed, over all tokens. */
  private readonly routed: Sums;
  /** Of the sampled tokens: the other pairs. */
  private readonly parts: Sums[] = [];
  private batches = 0;

  constructor(
    private readonly backend: Backend,
    private readonly block: MoeBlock,
    private readonly options: MeanSampleOptions,
  ) {
    this.routed = emptySums(block.experts);
  }

  /** Where the block sums the activations of a batch's routed pairs. @param mask tokens that count; undefined: all */
  routedSums({ scores, routing }: RouterOutput, mask: Uint8Array | undefined): ActivationSums | undefined {
    const { gated, routedKnown } = this.options;
    if (!routedKnown) return undefined;
    const { count } = this.block.experts;
    const factors = new Float32Array(routing.selected.length);
    for (const [pair, expert] of routing.selected.entries()) {
      const token = Math.floor(pair / routing.topK);
      if (mask !== undefined && mask[token] === 0) continue;
      factors[pair] = gated ? scores[token * count + expert]! : 1;
      this.routed.factors[expert]! += factors[pair]!;
    }
    return { factors, sums: this.routed.activations };
  }

  /** Takes its share of a batch whose rows are the sequences one after the other. */
  add({ x, scores, routing }: CountedTokens, { lengths, keys }: SampledBatch): void {
    const { backend, block, options } = this;
    const { count, hidden } = block.experts;
    this.routed.tokens += routing.tokens;
    const rows: number[] = [];
    let first = 0;
    for (const [i, length] of lengths.entries()) {
      const key = keys?.[i] ?? i;
      for (const token of sampledRows(length, options.perSequence, options.seed, key)) rows.push(first + token);
      first += length;
    }
    const factors = options.gated ? pickRows(scores, rows, count) : new Float32Array(rows.length * count).fill(1);
    if (options.routedKnown) {
      const { topK, selected } = routing;
      for (const [i, row] of rows.entries())
        for (const expert of selected.subarray(row * topK, (row + 1) * topK)) factors[i * count + expert] = 0;
    }
    const index = this.batches++ % PARTS;
    this.parts[index] ??= emptySums(block.experts);
    const part = this.parts[index];
    backend.addGatedActivations(part.activations, pickRows(x, rows, hidden), block.experts, factors);
    for (const [i, factor] of factors.entries()) part.factors[i % count]! += factor;
    part.tokens += rows.length;
  }

  async finish(tensors: MoeTensors): Promise<SampledMeans> {
    const { parts, routed, backend } = this;
    const total = emptySums(this.block.experts);
    for (const part of parts) addSums(total, part, 1);
    const left = parts.length < 2 ? [] : parts.map((part) => difference(total, part));
    const means = [total, ...left].map(({ tokens, activations, factors }) => ({
      activations: routed.activations.map((sum, i) => sum / routed.tokens + activations[i]! / tokens),
      factors: routed.factors.map((sum, e) => sum / routed.tokens + factors[e]! / tokens),
    }));
    const [all, ...without] = await meanOutputsOf(backend, means, tensors);
    return { tokens: total.tokens, all: all!, without };
  }
}

function emptySums({ count, width }: MoeBlock["experts"]): Sums {
  return { tokens: 0, activations: new Float64Array(count * width), factors: new Float64Array(count) };
}

/** Adds factor times other sums to sums. */
function addSums(sums: Sums, { tokens, activations, factors }: Sums, factor: number): void {
  sums.tokens += factor * tokens;
  for (const [i, value] of activations.entries()) sums.activations[i]! += factor * value;
  for (const [e, value] of factors.entries()) sums.factors[e]! += factor * value;
}

function difference(total: Sums, part: Sums): Sums {
  const { tokens, activations, factors } = total;
  const left = { tokens, activations: activations.slice(), factors: factors.slice() };
  addSums(left, part, -1);
  return left;
}
