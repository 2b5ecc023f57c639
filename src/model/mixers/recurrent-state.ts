import type { RecurrentSegment, Segment } from "../../engine/backend.js";
import type { TokenBatch } from "../layer.js";
import type { ContinuedTokens, LayerState } from "../layer-state.js";
import type { Mixer } from "./mixer.js";

/** Some next tokens of a sequence, with the arrays that remember its earlier ones; without: a sequence from its start. */
export interface RecurrentTokens {
  readonly tokens: number;
  readonly arrays: readonly Float32Array[] | undefined;
}

/** Segments for an operation whose memory is array `index` of a state. */
export function segmentsFor(index: number, parts: readonly RecurrentTokens[]): RecurrentSegment[] {
  return parts.map(({ tokens, arrays }) => ({ tokens, state: arrays?.[index] }));
}

/** Memories of fixed size, some arrays for each sequence. */
export class RecurrentState implements LayerState {
  private readonly sequences = new Map<number, { tokens: number; readonly arrays: readonly Float32Array[] }>();

  /** @param sizes numbers in each array of a sequence */
  constructor(private readonly sizes: readonly number[]) {}

  get bytes(): number {
    return this.sequences.size * recurrentBytes(this.sizes);
  }

  knows(sequence: number): boolean {
    return this.sequences.has(sequence);
  }

  /** The arrays of a segment's sequence, to which its tokens will be added. A new one starts where its prefix ends. */
  open({ sequence, tokens, prefix }: Segment): readonly Float32Array[] {
    let kept = this.sequences.get(sequence);
    if (kept === undefined) {
      kept = { tokens: 0, arrays: this.start(prefix) };
      this.sequences.set(sequence, kept);
    }
    kept.tokens += tokens;
    return kept.arrays;
  }

  forget(sequence: number): void {
    this.sequences.delete(sequence);
  }

  dispose(): void {
    this.sequences.clear();
  }

  private start(prefix: Segment["prefix"]): readonly Float32Array[] {
    if (prefix === undefined || prefix.length === 0) return this.sizes.map((size) => new Float32Array(size));
    const from = this.sequences.get(prefix.sequence);
    if (from?.tokens === prefix.length) return from.arrays.map((array) => array.slice());
    const length = from?.tokens ?? 0;
    throw new RangeError(`a recurrent state of ${length} tokens cannot branch after ${prefix.length}`);
  }
}

/** Bytes of a sequence's arrays. */
export function recurrentBytes(sizes: readonly number[]): number {
  return 4 * sizes.reduce((sum, size) => sum + size, 0);
}

/** A mixer of which everything is in `run`: x `[tokens, hidden]`, the parts' rows one after the other. */
export function recurrentMixer(run: (x: Float32Array, parts: readonly RecurrentTokens[]) => Float32Array): Mixer {
  return {
    mix(x, batch) {
      const part = { tokens: batch.length, arrays: undefined };
      return run(withoutPadding(x, batch), Array<RecurrentTokens>(batch.sequences).fill(part));
    },
    mixNext(x, { segments }, state) {
      if (!(state instanceof RecurrentState)) throw new TypeError("the state is another layer's");
      return mixInOrder(x, segments, state, run);
    },
  };
}

/** Padding must not get into the memory: its rows become zero, as in transformers. */
function withoutPadding(x: Float32Array, { mask }: TokenBatch): Float32Array {
  if (mask === undefined || mask.every((value) => value !== 0)) return x;
  const out = x.slice();
  const hidden = x.length / mask.length;
  for (const [row, value] of mask.entries()) if (value === 0) out.fill(0, row * hidden, (row + 1) * hidden);
  return out;
}

/** Runs the segments; one that branches off another of the same call runs after it. */
function mixInOrder(
  x: Float32Array,
  segments: ContinuedTokens["segments"],
  state: RecurrentState,
  run: (x: Float32Array, parts: readonly RecurrentTokens[]) => Float32Array,
): Float32Array {
  const starts: number[] = [];
  let rows = 0;
  for (const { tokens } of segments) {
    starts.push(rows);
    rows += tokens;
  }
  const hidden = rows === 0 ? 0 : x.length / rows;
  const out = new Float32Array(x.length);
  let left = [...segments.keys()];
  while (left.length > 0) {
    const running = new Set(left.map((index) => segments[index]!.sequence));
    const waits = ({ sequence, prefix }: Segment) =>
      prefix !== undefined && !state.knows(sequence) && running.has(prefix.sequence);
    const ready = left.filter((index) => !waits(segments[index]!));
    if (ready.length === 0) throw new RangeError("sequences are prefixes of each other");
    const parts = ready.map((index) => ({ tokens: segments[index]!.tokens, arrays: state.open(segments[index]!) }));
    if (ready.length === segments.length) return run(x, parts);
    const range = (index: number) => [starts[index]! * hidden, (starts[index]! + segments[index]!.tokens) * hidden];
    const some = concatenate(ready.map((index) => x.subarray(...range(index))));
    const result = run(some, parts);
    let at = 0;
    for (const index of ready) {
      const [begin, end] = range(index) as [number, number];
      out.set(result.subarray(at, at + end - begin), begin);
      at += end - begin;
    }
    left = left.filter((index) => !ready.includes(index));
  }
  return out;
}

function concatenate(parts: readonly Float32Array[]): Float32Array {
  const out = new Float32Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}
