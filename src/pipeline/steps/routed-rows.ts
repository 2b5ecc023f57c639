import { pickRows } from "../../compress/rows.js";
import type { MoeDescription } from "../../model/description.js";
import type { MoeInput } from "../../model/layer.js";
import type { RouterOutput } from "../../model/router.js";

/** Rows of a chunk: enough for fast products, few enough for memory. */
const CHUNK = 4096;

/** Some of the tokens that an expert is given. */
export interface RoutedTokens {
  readonly tokens: readonly number[];
  /** `[tokens, size]` */
  readonly hidden: Float32Array;
  readonly weights: readonly number[];
}

/** What an expert multiplies gate and up with for some of its tokens: the weights may scale its inputs (Llama 4). */
export function expertInputs(
  { hidden, weights }: RoutedTokens,
  moeInput: (hidden: Float32Array) => MoeInput,
  { router, experts }: MoeDescription,
): Float32Array {
  const x = moeInput(hidden).experts;
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

  /** The hidden states of an expert's tokens and the weights, some at a time. `tokens` are numbered over all batches. */
  *of(expert: number): Generator<RoutedTokens> {
    const tokens = this.tokens[expert]!;
    for (let begin = 0; begin < tokens.length; begin += CHUNK) {
      const some = tokens.slice(begin, begin + CHUNK);
      yield { tokens: some, hidden: this.pick(some), weights: this.weights[expert]!.slice(begin, begin + CHUNK) };
    }
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
