import type { RoutedBatch } from "../../engine/descent.js";

/** Some tokens of an expert. */
export interface ExpertTokens {
  /** `[tokens]`: their rows. */
  readonly rows: Int32Array;
  /** `[tokens]`: what the expert's output is multiplied by. */
  readonly factors: Float32Array;
  /** `[tokens]`: what its input is multiplied by; undefined: 1. */
  readonly inputFactors?: Float32Array | undefined;
}

/** Which experts each token goes to: pairs of a token and an expert, token by token. */
export class TokenPairs {
  readonly count: number;
  /** Where the pairs of each row begin: `[rows + 1]`. */
  private readonly starts: Int32Array;
  private readonly experts: Int32Array;
  private readonly factors: Float32Array;
  private readonly inputFactors: Float32Array | undefined;

  /** @param listed the tokens of each expert, whose rows are below `rows` */
  constructor(
    readonly rows: number,
    listed: readonly (readonly ExpertTokens[])[],
  ) {
    this.count = listed.length;
    this.starts = new Int32Array(rows + 1);
    for (const { rows: own } of listed.flat()) for (const row of own) this.starts[row + 1]!++;
    for (let row = 0; row < rows; row++) this.starts[row + 1]! += this.starts[row]!;
    const next = this.starts.slice();
    const pairs = this.starts[rows]!;
    this.experts = new Int32Array(pairs);
    this.factors = new Float32Array(pairs);
    const scaled = listed.flat().some(({ inputFactors }) => inputFactors !== undefined);
    this.inputFactors = scaled ? new Float32Array(pairs).fill(1) : undefined;
    for (const [expert, pieces] of listed.entries()) {
      for (const { rows: own, factors, inputFactors } of pieces) {
        for (const [i, row] of own.entries()) {
          const pair = next[row]!++;
          this.experts[pair] = expert;
          this.factors[pair] = factors[i]!;
          if (inputFactors !== undefined) this.inputFactors![pair] = inputFactors[i]!;
        }
      }
    }
  }

  /** Pairs of all tokens. */
  get pairs(): number {
    return this.experts.length;
  }

  /** Rows that go to one of the experts. */
  routedRows(): Int32Array {
    const { starts } = this;
    return Int32Array.from({ length: this.rows }, (_, row) => row).filter((row) => starts[row + 1]! > starts[row]!);
  }

  /** The pairs of some rows, expert by expert. */
  batch(rows: Int32Array): Omit<RoutedBatch, "x" | "y"> {
    const { starts, experts, count } = this;
    const offsets = new Int32Array(count + 1);
    for (const row of rows)
      for (let pair = starts[row]!; pair < starts[row + 1]!; pair++) offsets[experts[pair]! + 1]!++;
    for (let expert = 0; expert < count; expert++) offsets[expert + 1]! += offsets[expert]!;
    const next = offsets.slice();
    const tokens = new Int32Array(offsets[count]!);
    const factors = new Float32Array(tokens.length);
    const inputFactors = this.inputFactors && new Float32Array(tokens.length);
    for (const [token, row] of rows.entries()) {
      for (let pair = starts[row]!; pair < starts[row + 1]!; pair++) {
        const at = next[experts[pair]!]!++;
        tokens[at] = token;
        factors[at] = this.factors[pair]!;
        if (inputFactors !== undefined) inputFactors[at] = this.inputFactors![pair]!;
      }
    }
    return { rows, offsets, tokens, factors, inputFactors };
  }
}
