import { Random } from "../random.js";
import { pickRows } from "./rows.js";

/**
 * Inputs of a layer's experts for the tokens whose activations align neurons. Shared sampling takes the same tokens in
 * the same order for every expert; per-expert sampling, as the official code does it, another random order for each.
 */
export class TokenSamples {
  private readonly parts: { batch: number; inputs: Float32Array }[] = [];

  private constructor(
    private readonly hidden: number,
    /** Rows of a batch that an expert sees; undefined: every expert sees all rows that are kept. */
    private readonly orderOf: ((batch: number, expert: number, tokens: number) => Int32Array) | undefined,
    private readonly keep: (batch: number, tokens: number) => Int32Array | undefined,
  ) {}

  /** The same random `perBatch` tokens of each batch for all experts, in their order in the batch. */
  static shared(hidden: number, perBatch: number, seed: number): TokenSamples {
    return new TokenSamples(hidden, undefined, (batch, tokens) =>
      tokens <= perBatch ? undefined : new Random(seed + batch).permutation(tokens).slice(0, perBatch).sort(),
    );
  }

  /** Another random `perBatch` tokens of each batch, in another order, for each expert. */
  static perExpert(hidden: number, perBatch: number, seed: number): TokenSamples {
    const order = (batch: number, expert: number, tokens: number) =>
      new Random(seed + batch * 65_537 + expert).permutation(tokens).slice(0, perBatch);
    return new TokenSamples(hidden, order, () => undefined);
  }

  /** Recorded token indices `[batches, experts, samples]`. */
  static recorded(hidden: number, indices: Int32Array, experts: number, samples: number): TokenSamples {
    const order = (batch: number, expert: number) =>
      indices.subarray((batch * experts + expert) * samples, (batch * experts + expert + 1) * samples);
    return new TokenSamples(hidden, order, () => undefined);
  }

  /** Takes its share of a batch's inputs `[tokens, hidden]`. */
  add(batch: number, x: Float32Array): void {
    const chosen = this.keep(batch, x.length / this.hidden);
    const inputs = chosen === undefined ? x.slice() : pickRows(x, chosen, this.hidden);
    this.parts.push({ batch, inputs });
  }

  /** The inputs that one expert sees, part by part: each `[tokens, hidden]`. */
  *inputs(expert: number): Generator<Float32Array> {
    for (const { batch, inputs } of this.parts) {
      const order = this.orderOf?.(batch, expert, inputs.length / this.hidden);
      yield order === undefined ? inputs : pickRows(inputs, order, this.hidden);
    }
  }
}
