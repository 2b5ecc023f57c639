import { pickRows } from "../../compress/rows.js";
import type { MoeDescription } from "../../model/description.js";
import type { MoeInput } from "../../model/layer.js";
import type { RouterOutput } from "../../model/router.js";

/** Rows of a chunk: enough for fast products, few enough for memory. */
const CHUNK = 4096;

/** Some of the tokens that an expert is given, numbered over all batches, and their weights. */
export interface WeightedTokens {
  readonly tokens: readonly number[];
  readonly weights: readonly number[];
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
  weights: readonly number[],
  { router, experts }: MoeDescription,
): Float32Array {
  if (router.scalesInputs !== true) return x;
  return x.map((value, i) => value * weights[Math.floor(i / experts.hidden)]!);
}

/** Which calibration tokens each expert of a layer is given, and with which weight. */
export class RoutedRows {
  private readonly tokens: number[][];
  private readonly weights: number[][];
  private readonly starts: number[] = [0];

  /** @param hidden hidden states of each batch `[tokens, size]`, from which rows are taken */
  constructor(
    experts: number,
    private readonly hidden: readonly Float32Array[],
    private readonly size: number,
  ) {
    this.tokens = Array.from({ length: experts }, () => []);
    this.weights = Array.from({ length: experts }, () => []);
    for (const batch of hidden) this.starts.push(this.starts.at(-1)! + batch.length / size);
  }

  /** Adds what a router made of a batch; tokens that a mask `[tokens]` hides are left out. */
  add(batch: number, { routing }: RouterOutput, mask: Uint8Array | undefined): void {
    const { tokens, topK, selected, weights } = routing;
    for (let token = 0; token < tokens; token++) {
      if (mask?.[token] === 0) continue;
      for (let i = token * topK; i < (token + 1) * topK; i++) {
        this.tokens[selected[i]!]!.push(this.starts[batch]! + token);
        this.weights[selected[i]!]!.push(weights[i]!);
      }
    }
  }

  /** An expert's tokens and their hidden states, some at a time. */
  *of(expert: number): Generator<RoutedTokens> {
    for (const some of this.listed(expert)) yield { ...some, hidden: this.pick(some.tokens) };
  }

  /** An expert's tokens, some at a time. */
  *listed(expert: number): Generator<WeightedTokens> {
    const [tokens, weights] = [this.tokens[expert]!, this.weights[expert]!];
    for (let begin = 0; begin < tokens.length; begin += CHUNK)
      yield { tokens: tokens.slice(begin, begin + CHUNK), weights: weights.slice(begin, begin + CHUNK) };
  }

  private pick(tokens: readonly number[]): Float32Array {
    const rows = new Float32Array(tokens.length * this.size);
    let batch = 0;
    for (let i = 0; i < tokens.length; ) {
      while (tokens[i]! >= this.starts[batch + 1]!) batch++;
      const start = this.starts[batch]!;
      const end = this.starts[batch + 1]!;
      let last = i;
      while (last < tokens.length && tokens[last]! < end) last++;
      const inBatch = tokens.slice(i, last).map((token) => token - start);
      rows.set(pickRows(this.hidden[batch]!, inBatch, this.size), i * this.size);
      i = last;
    }
    return rows;
  }
}
