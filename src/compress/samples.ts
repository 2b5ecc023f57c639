import { Random } from "../random.js";
import { pickRows } from "./rows.js";
import type { Settings } from "./settings.js";

/** The sequences of a batch: how many tokens of each count, and numbers that tell them apart. */
export interface SampledBatch {
  readonly lengths: readonly number[];
  readonly keys: Uint32Array | undefined;
}

/** Inputs of a batch `[tokens, hidden]`, those that any expert may see. */
interface SampledPart {
  readonly batch: number;
  readonly inputs: Float32Array;
}

/**
 * Inputs of a layer's experts for the tokens whose activations align neurons. Shared sampling takes the same tokens in
 * the same order for every expert; per-expert sampling, as the official code does it, another random order for each.
 */
export class TokenSamples {
  private readonly parts: SampledPart[] = [];

  private constructor(
    private readonly hidden: number,
    /** Rows of a batch that an expert sees; undefined: every expert sees all rows that are kept. */
    private readonly orderOf: ((batch: number, expert: number, tokens: number) => Int32Array) | undefined,
    /** Rows of a batch that are kept; undefined: all. */
    private readonly keep: (batch: SampledBatch) => readonly number[] | undefined,
  ) {}

  /**
   * The same random `perSequence` tokens of each sequence for all experts, in their order. Which they are depends on the
   * seed and the sequence's key alone, not on what else is observed.
   */
  static shared(hidden: number, perSequence: number, seed: number): TokenSamples {
    return new TokenSamples(hidden, undefined, ({ lengths, keys }) => {
      if (lengths.every((length) => length <= perSequence)) return undefined;
      const rows: number[] = [];
      let first = 0;
      for (const [i, length] of lengths.entries()) {
        for (const token of sampledRows(length, perSequence, seed, keys?.[i] ?? i)) rows.push(first + token);
        first += length;
      }
      return rows;
    });
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

  /** Inputs that were sampled before, part by part. */
  static given(hidden: number, parts: readonly Float32Array[]): TokenSamples {
    const samples = new TokenSamples(hidden, undefined, () => undefined);
    for (const [batch, inputs] of parts.entries()) samples.parts.push({ batch, inputs });
    return samples;
  }

  /** Takes its share of a batch's inputs `[tokens, hidden]`, whose rows are the sequences one after the other. */
  add(batch: number, x: Float32Array, sequences: SampledBatch): void {
    const chosen = this.keep(sequences);
    const inputs = chosen === undefined ? x.slice() : pickRows(x, chosen, this.hidden);
    this.parts.push({ batch, inputs });
  }

  /** Tokens that each expert sees. */
  get count(): number {
    const rows = ({ batch, inputs }: SampledPart) => {
      const tokens = inputs.length / this.hidden;
      return this.orderOf?.(batch, 0, tokens).length ?? tokens;
    };
    return this.parts.reduce((sum, part) => sum + rows(part), 0);
  }

  /** The inputs that one expert sees, part by part: each `[tokens, hidden]`. */
  *inputs(expert: number): Generator<Float32Array> {
    if (this.orderOf === undefined) this.join();
    for (const { batch, inputs } of this.parts) {
      const order = this.orderOf?.(batch, expert, inputs.length / this.hidden);
      yield order === undefined ? inputs : pickRows(inputs, order, this.hidden);
    }
  }

  /** Makes one part of all, since few tokens of each batch would make slow products. */
  private join(): void {
    if (this.parts.length < 2) return;
    const inputs = new Float32Array(this.parts.reduce((sum, part) => sum + part.inputs.length, 0));
    let first = 0;
    for (const part of this.parts) {
      inputs.set(part.inputs, first);
      first += part.inputs.length;
    }
    this.parts.splice(0, this.parts.length, { batch: 0, inputs });
  }
}

/** Whether a method aligns neurons by the activations of sampled tokens. */
export function needsSamples({ merging, alignActivations }: Pick<Settings, "merging" | "alignActivations">): boolean {
  return merging === "saliency" && alignActivations;
}

/** The seed of a layer's sampled tokens. */
export function layerSeed(seed: number, layer: number): number {
  return seed + layer * 1_000_003;
}

/** Tokens of a sequence that are sampled, in ascending order. They follow from the seed and the sequence's key. */
export function sampledRows(length: number, count: number, seed: number, key: number): number[] {
  if (length <= count) return Array.from({ length }, (_, token) => token);
  return [...new Random(seed + key * 65_537).permutation(length).slice(0, count)].sort((a, b) => a - b);
}
