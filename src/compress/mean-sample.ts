import { decode } from "../checkpoint/dtypes.js";
import type { Backend } from "../engine/backend.js";
import type { MoeBlock, MoeTensors } from "../model/moe.js";
import type { CountedTokens } from "./counted-tokens.js";
import { pickRows } from "./rows.js";
import { type SampledBatch, sampledRows } from "./samples.js";

/** Parts of a sample whose differences tell its error. */
const PARTS = 16;

/** Sums over the tokens of a part. */
interface PartSums {
  tokens: number;
  /** `[experts, width]` activations times factors, and the factors `[experts]`. */
  readonly activations: Float64Array;
  readonly factors: Float64Array;
}

/** Mean outputs `[experts, hidden]` of a sample. */
export interface SampledMeans {
  readonly tokens: number;
  readonly all: Float64Array;
  /** The same without each of its parts in turn; none where it has one part only. */
  readonly without: readonly Float64Array[];
}

/**
 * Mean outputs of all experts from a sample of tokens: to run every expert on every token is what costs most. The same
 * random tokens of each sequence for all experts; which they are depends on the seed and the sequence's key alone.
 *
 * A batch's tokens belong to one part, because tokens of one text are alike: what leaving out a part changes is then as
 * large as what other texts would have changed (jackknife by groups).
 */
export class MeanSample {
  private readonly parts: PartSums[] = [];
  private batches = 0;

  constructor(
    private readonly backend: Backend,
    private readonly block: MoeBlock,
    private readonly options: { readonly gated: boolean; readonly perSequence: number; readonly seed: number },
  ) {}

  /** Takes its share of a batch whose rows are the sequences one after the other. */
  add({ x, scores }: CountedTokens, { lengths, keys }: SampledBatch): void {
    const { backend, block, options } = this;
    const { count, hidden, width } = block.experts;
    const rows: number[] = [];
    let first = 0;
    for (const [i, length] of lengths.entries()) {
      const key = keys?.[i] ?? i;
      for (const token of sampledRows(length, options.perSequence, options.seed, key)) rows.push(first + token);
      first += length;
    }
    const part = this.batches++ % PARTS;
    this.parts[part] ??= { tokens: 0, activations: new Float64Array(count * width), factors: new Float64Array(count) };
    const own = this.parts[part];
    const factors = options.gated ? pickRows(scores, rows, count) : undefined;
    backend.addGatedActivations(own.activations, pickRows(x, rows, hidden), block.experts, factors);
    if (factors === undefined) for (let e = 0; e < count; e++) own.factors[e]! += rows.length;
    else for (const [i, factor] of factors.entries()) own.factors[i % count]! += factor;
    own.tokens += rows.length;
  }

  async finish({ experts }: MoeTensors): Promise<SampledMeans> {
    const { parts, backend } = this;
    const { count, hidden, width } = this.block.experts;
    const total = sumOf(parts, count, width);
    const left = parts.length < 2 ? [] : parts.map((part) => difference(total, part));
    const samples = [total, ...left];
    const means = samples.map(() => new Float64Array(count * hidden));
    const inputs = new Float32Array(samples.length * width);
    for (let e = 0; e < count; e++) {
      const { down, downBias } = await experts.read(e);
      for (const [s, { activations, tokens }] of samples.entries())
        for (let i = 0; i < width; i++) inputs[s * width + i] = activations[e * width + i]! / tokens;
      // The down projection is linear, so that it turns mean activations into mean outputs.
      const outputs = backend.product(inputs, decode(down), width);
      const bias = downBias && decode(downBias);
      for (const [s, { factors, tokens }] of samples.entries()) {
        for (let i = 0; i < hidden; i++)
          means[s]![e * hidden + i] = outputs[s * hidden + i]! + ((bias?.[i] ?? 0) * factors[e]!) / tokens;
      }
    }
    return { tokens: total.tokens, all: means[0]!, without: means.slice(1) };
  }
}

function sumOf(parts: readonly PartSums[], count: number, width: number): PartSums {
  const sum = { tokens: 0, activations: new Float64Array(count * width), factors: new Float64Array(count) };
  for (const { tokens, activations, factors } of parts) {
    sum.tokens += tokens;
    for (const [i, value] of activations.entries()) sum.activations[i]! += value;
    for (const [e, value] of factors.entries()) sum.factors[e]! += value;
  }
  return sum;
}

function difference(total: PartSums, part: PartSums): PartSums {
  return {
    tokens: total.tokens - part.tokens,
    activations: total.activations.map((value, i) => value - part.activations[i]!),
    factors: total.factors.map((value, e) => value - part.factors[e]!),
  };
}
