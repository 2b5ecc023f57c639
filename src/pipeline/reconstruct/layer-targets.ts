import { importanceOf } from "../../compress/reconstruct/importance.js";
import type { Part } from "../../compress/reconstruct/problem.js";
import type { TokenSplit } from "../../compress/reconstruct/split.js";
import type { Backend } from "../../engine/backend.js";
import type { MoeDescription } from "../../model/description.js";
import type { HiddenStates } from "../../model/hidden-states.js";
import type { MoeInput } from "../../model/layer.js";
import { type RouterWeights, route } from "../../model/router.js";
import { RoutedRows, type WeightedTokens } from "../steps/routed-rows.js";

/**
 * What the original block's routed experts make of some calibration tokens, times the importance of each token: errors
 * count relative to the hidden state that the output is added to. What comes after sees hidden states through a norm, so
 * that what is lost where they are large is lost on little, and single tokens with outputs a thousand times those of
 * others would be all that is looked at.
 */
export class LayerTargets {
  /** `[rows, size]` */
  readonly outputs: Float32Array;
  /** `[rows]`: what a token's error is multiplied by. */
  readonly importance: Float32Array;
  /** Of an output; hidden states may be of another size (latent experts of Nemotron-H). */
  readonly size: number;
  /** Rows of all tokens, numbered over all batches; -1 where they take no part. */
  private readonly rows: Int32Array;

  constructor(
    private readonly backend: Backend,
    private readonly moe: MoeDescription,
    readonly split: TokenSplit,
  ) {
    this.size = moe.experts.hidden;
    this.outputs = new Float32Array(split.rows * this.size);
    this.importance = new Float32Array(split.rows);
    this.rows = concatenated(split.rowOf);
  }

  /** Whether a batch has tokens that take part; those behind the batches of the split have none. */
  uses(batch: number): boolean {
    return this.split.rowOf[batch]?.some((row) => row >= 0) === true;
  }

  /** Takes what the original block makes of a batch `[tokens, hidden]`, of hidden states after the mixer. */
  observe(batch: number, mixed: Float32Array, output: Float32Array): void {
    const { size, split, outputs, importance } = this;
    const rowOf = split.rowOf[batch]!;
    const hidden = mixed.length / rowOf.length;
    for (const [token, row] of rowOf.entries()) {
      if (row < 0) continue;
      importance[row] = importanceOf(mixed.subarray(token * hidden, (token + 1) * hidden));
      for (let i = 0; i < size; i++) outputs[row * size + i] = importance[row]! * output[token * size + i]!;
    }
  }

  /**
   * Where a router sends the tokens of both parts.
   *
   * @param hidden hidden states after the mixer, of each batch
   */
  routed(
    router: RouterWeights,
    experts: number,
    hidden: HiddenStates,
    moeInput: (hidden: Float32Array) => MoeInput,
  ): Record<Part, RoutedRows> {
    const { backend, moe, split } = this;
    const tokens = split.rowOf.map(({ length }) => length);
    const routed = {
      fitted: new RoutedRows(experts, hidden, tokens),
      heldOut: new RoutedRows(experts, hidden, tokens),
    };
    for (const [batch, rowOf] of split.rowOf.entries()) {
      if (!this.uses(batch)) continue;
      const output = route(backend, moeInput(hidden.get(batch)).router, router, moe.router);
      const fitted = Uint8Array.from(rowOf, (row) => (row >= 0 && row < split.fitted ? 1 : 0));
      const heldOut = Uint8Array.from(rowOf, (row) => (row >= split.fitted ? 1 : 0));
      routed.fitted.add(batch, output, fitted);
      routed.heldOut.add(batch, output, heldOut);
    }
    return routed;
  }

  /** The rows of an expert's tokens. */
  rowsOf({ tokens }: WeightedTokens): Int32Array {
    return tokens.map((token) => this.rows[token]!);
  }

  /**
   * Multiplies what an expert makes of its tokens `[tokens, columns]`, in place, by what it is combined with and by the
   * tokens' importance. Weights that scale inputs (Llama 4) have done so.
   */
  scale(values: Float32Array, { weights }: WeightedTokens, rows: Int32Array): Float32Array {
    return this.scaleBy(values, this.moe.router.scalesInputs === true ? undefined : weights, rows);
  }

  /** Multiplies values `[tokens, columns]`, in place, by weights and the tokens' importance. */
  scaleBy(values: Float32Array, weights: Float32Array | undefined, rows: Int32Array): Float32Array {
    const columns = values.length / rows.length;
    for (const [i, row] of rows.entries()) {
      const factor = (weights?.[i] ?? 1) * this.importance[row]!;
      for (let j = i * columns; j < (i + 1) * columns; j++) values[j]! *= factor;
    }
    return values;
  }

  /** What is made of the hidden states of each batch, of the tokens that take part `[rows, size]`. */
  rowsFrom(hidden: HiddenStates, make: (hidden: Float32Array) => Float32Array): Float32Array {
    const { size, split } = this;
    const rows = new Float32Array(split.rows * size);
    for (const [batch, rowOf] of split.rowOf.entries()) {
      if (!this.uses(batch)) continue;
      const made = make(hidden.get(batch));
      for (const [token, row] of rowOf.entries())
        if (row >= 0) rows.set(made.subarray(token * size, (token + 1) * size), row * size);
    }
    return rows;
  }
}

function concatenated(arrays: readonly Int32Array[]): Int32Array {
  const result = new Int32Array(arrays.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const array of arrays) {
    result.set(array, at);
    at += array.length;
  }
  return result;
}
