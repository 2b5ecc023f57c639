import type { Routing } from "../../engine/backend.js";
import type { MoeDescription } from "../../model/description.js";
import type { HiddenStates } from "../../model/hidden-states.js";
import type { MoeInput } from "../../model/layer.js";
import type { RouterOutput } from "../../model/router.js";

/** Rows of a chunk: enough for fast products, few enough for memory. */
const CHUNK = 4096;

/** Some of the tokens that an expert is given, numbered over all batches, and their weights. */
export interface WeightedTokens {
  readonly tokens: Int32Array;
  readonly weights: Float32Array;
}

export interface RoutedTokens extends WeightedTokens {
  /** `[tokens, size]` */
  readonly hidden: Float32Array;
}

/** What an expert multiplies gate and up with for some of its tokens: the weights may scale its inputs (Llama 4). */
export function expertInputs(
  { hidden, weights }: RoutedTokens,
  moeInput: (hidden: Float32Array) => MoeInput,
  moe: MoeDescription,
): Float32Array {
  return scaledInputs(moeInput(hidden).experts, weights, moe);
}

/** The block's inputs `[tokens, hidden]` times their weights where these scale inputs. */
export function scaledInputs(
  x: Float32Array,
  weights: Float32Array,
  { router, experts }: MoeDescription,
): Float32Array {
  if (router.scalesInputs !== true) return x;
  return x.map((value, i) => value * weights[Math.floor(i / experts.hidden)]!);
}

/** Pairs of an expert and a token, expert by expert in the order of the tokens. */
interface SortedPairs extends WeightedTokens {
  /** Where each expert's begin: `[experts + 1]`. */
  readonly offsets: Int32Array;
}

/** Which calibration tokens each expert of a layer is given, and with which weight. */
export class RoutedRows {
  private readonly added: {
    readonly first: number;
    readonly routing: Routing;
    readonly mask: Uint8Array | undefined;
  }[] = [];
  private sorted: SortedPairs | undefined;
  private readonly starts: number[] = [0];

  /**
   * @param hidden from which rows are taken
   * @param tokens of each batch
   */
  constructor(
    private readonly experts: number,
    private readonly hidden: HiddenStates,
    tokens: readonly number[],
  ) {
    for (const count of tokens) this.starts.push(this.starts.at(-1)! + count);
  }

  /** Adds what a router made of a batch; tokens that a mask `[tokens]` hides are left out. */
  add(batch: number, { routing }: RouterOutput, mask: Uint8Array | undefined): void {
    this.added.push({ first: this.starts[batch]!, routing, mask });
    this.sorted = undefined;
  }

  /** An expert's tokens and their hidden states, some at a time. */
  *of(expert: number): Generator<RoutedTokens> {
    for (const some of this.listed(expert)) yield { ...some, hidden: this.pick(some.tokens) };
  }

  /** An expert's tokens, some at a time. */
  *listed(expert: number): Generator<WeightedTokens> {
    this.sorted ??= this.sort();
    const { offsets, tokens, weights } = this.sorted;
    for (let begin = offsets[expert]!; begin < offsets[expert + 1]!; begin += CHUNK) {
      const end = Math.min(begin + CHUNK, offsets[expert + 1]!);
      yield { tokens: tokens.subarray(begin, end), weights: weights.subarray(begin, end) };
    }
  }

  private sort(): SortedPairs {
    const offsets = new Int32Array(this.experts + 1);
    this.eachPair((expert) => offsets[expert + 1]!++);
    for (let expert = 0; expert < this.experts; expert++) offsets[expert + 1]! += offsets[expert]!;
    const next = offsets.slice();
    const [tokens, weights] = [new Int32Array(offsets[this.experts]!), new Float32Array(offsets[this.experts]!)];
    this.eachPair((expert, token, weight) => {
      const at = next[expert]!++;
      tokens[at] = token;
      weights[at] = weight;
    });
    return { offsets, tokens, weights };
  }

  private eachPair(see: (expert: number, token: number, weight: number) => void): void {
    for (const { first, routing, mask } of this.added) {
      const { tokens, topK, selected, weights } = routing;
      for (let token = 0; token < tokens; token++) {
        if (mask?.[token] === 0) continue;
        for (let i = token * topK; i < (token + 1) * topK; i++) see(selected[i]!, first + token, weights[i]!);
      }
    }
  }

  private pick(tokens: Int32Array): Float32Array {
    let rows = new Float32Array(0);
    let batch = 0;
    for (let i = 0; i < tokens.length; ) {
      while (tokens[i]! >= this.starts[batch + 1]!) batch++;
      const start = this.starts[batch]!;
      const end = this.starts[batch + 1]!;
      let last = i;
      while (last < tokens.length && tokens[last]! < end) last++;
      const inBatch = tokens.subarray(i, last).map((token) => token - start);
      const size = this.hidden.length(batch) / (end - start);
      if (i === 0) rows = new Float32Array(tokens.length * size);
      rows.set(this.hidden.rows(batch, inBatch, size), i * size);
      i = last;
    }
    return rows;
  }
}
