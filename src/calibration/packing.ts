import type { TextTokenizer } from "./tokenizer.js";

/** One finished sequence: `length` ids, of which the first `tokens` are text and the rest padding. */
export interface Sequence {
  readonly ids: Int32Array;
  readonly tokens: number;
}

/** Makes sequences of the documents of one domain. */
export interface Packer {
  /** Finished sequences so far. */
  readonly sequences: readonly Sequence[];
  /** Adds a document. `template`: a rendered conversation, which has its own special tokens at the beginning. */
  add(ids: readonly number[], template: boolean): void;
  /** To be called once when no document is left. Returns how many short documents were used for want of longer ones. */
  finish(): number;
}

type Surroundings = Pick<TextTokenizer, "prefix" | "suffix" | "endOfText" | "pad">;

/**
 * Documents one after the other, an end-of-text token between them, cut into full sequences; what is left at the end and
 * fills none is dropped. No padding.
 */
export function packedSequences(tokenizer: Surroundings, length: number): Packer {
  const sequences: Sequence[] = [];
  let current = new Int32Array(length);
  let filled = 0;
  const push = (ids: readonly number[]) => {
    for (const id of ids) {
      current[filled++] = id;
      if (filled < length) continue;
      sequences.push({ ids: current, tokens: length });
      current = new Int32Array(length);
      filled = 0;
    }
  };
  return {
    sequences,
    add(ids, template) {
      if (!template) push(tokenizer.prefix);
      push(ids);
      if (!template && tokenizer.suffix.length > 0) push(tokenizer.suffix);
      else if (tokenizer.endOfText !== undefined && ids.at(-1) !== tokenizer.endOfText) push([tokenizer.endOfText]);
    },
    finish: () => 0,
  };
}

/**
 * One document a sequence, cut at its end or padded on the right. Documents that fill less than `minFill` of a sequence
 * wait until the source is exhausted; of those, the longest are used first. At most `wanted` of them are kept.
 */
export function paddedSequences(tokenizer: Surroundings, length: number, minFill: number, wanted: number): Packer {
  const sequences: Sequence[] = [];
  let short: Sequence[] = [];
  const longestFirst = () => short.sort((a, b) => b.tokens - a.tokens).slice(0, wanted);
  return {
    sequences,
    add(ids, template) {
      const prefix = template ? [] : tokenizer.prefix;
      const suffix = template ? [] : tokenizer.suffix;
      const room = Math.max(0, length - prefix.length - suffix.length);
      const all = [...prefix, ...ids.slice(0, room), ...suffix].slice(0, length);
      const sequence = { ids: new Int32Array(length).fill(tokenizer.pad), tokens: all.length };
      sequence.ids.set(all);
      if (all.length >= minFill * length) sequences.push(sequence);
      else if (short.push(sequence) >= 2 * wanted) short = longestFirst();
    },
    finish() {
      const used = longestFirst().slice(0, Math.max(0, wanted - sequences.length));
      sequences.push(...used);
      short = [];
      return used.length;
    },
  };
}
