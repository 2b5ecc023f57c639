import type { CachedAttentionShape, KeyValueCache, Segment } from "../backend.js";
import { checkSight, firstSeen, softmaxSum } from "./attention.js";
import { dot } from "./products.js";

/** What is kept of one sequence: keys and values `[tokens, keyValueHeads, their size]`, in arrays that may be longer. */
interface Kept {
  length: number;
  keys: Float32Array;
  values: Float32Array;
}

const NONE: Kept = { length: 0, keys: new Float32Array(0), values: new Float32Array(0) };

/** The cache of the reference backend. `stored`: what keys and values become when they are kept (bfloat16 or as is). */
export class ReferenceCache implements KeyValueCache {
  private readonly sequences = new Map<number, Kept>();

  constructor(
    readonly keyValueHeads: number,
    readonly headSize: number,
    readonly valueSize: number,
    readonly stored: (values: Float32Array) => Float32Array,
  ) {}

  get bytes(): number {
    let bytes = 0;
    for (const { keys, values } of this.sequences.values()) bytes += keys.byteLength + values.byteLength;
    return bytes;
  }

  length(sequence: number): number {
    return this.kept(sequence).length;
  }

  kept(sequence: number): Kept {
    return this.sequences.get(sequence) ?? NONE;
  }

  truncate(sequence: number, length: number): void {
    if (length === 0) this.sequences.delete(sequence);
    else this.kept(sequence).length = Math.min(length, this.length(sequence));
  }

  /** Appends rows of k and v, rounded already. */
  append(sequence: number, k: Float32Array, v: Float32Array): void {
    const keyRow = this.keyValueHeads * this.headSize;
    const valueRow = this.keyValueHeads * this.valueSize;
    const before = this.kept(sequence);
    const length = before.length + k.length / keyRow;
    const fits = before.keys.length >= length * keyRow;
    const kept = fits
      ? before
      : { length, keys: grown(before.keys, length * keyRow), values: grown(before.values, length * valueRow) };
    kept.keys.set(k, before.length * keyRow);
    kept.values.set(v, before.length * valueRow);
    kept.length = length;
    this.sequences.set(sequence, kept);
  }

  dispose(): void {
    this.sequences.clear();
  }
}

/** A copy with room for more: twice the room that is needed, so that single tokens do not copy it again and again. */
function grown(values: Float32Array, needed: number): Float32Array {
  const copy = new Float32Array(2 * needed);
  copy.set(values);
  return copy;
}

/** Attention of new tokens to those of a cache, one query row at a time (backend.ts, `attendCached`). */
export function attendCached(
  q: Float32Array,
  k: Float32Array,
  v: Float32Array,
  cache: ReferenceCache,
  segments: readonly Segment[],
  shape: CachedAttentionShape,
): Float32Array {
  const { heads, scale, sinks } = shape;
  check(q, k, v, cache, segments, shape);
  const { keyValueHeads, headSize, valueSize } = cache;
  const [keyRow, valueRow] = [keyValueHeads * headSize, keyValueHeads * valueSize];
  const [keys, values] = [cache.stored(k), cache.stored(v)];
  for (let index = 0, begin = 0; index < segments.length; index++) {
    const { sequence, tokens } = segments[index]!;
    const end = begin + tokens;
    const added = [
      keys.subarray(begin * keyRow, end * keyRow),
      values.subarray(begin * valueRow, end * valueRow),
    ] as const;
    if (tokens > 0) cache.append(sequence, ...added);
    begin = end;
  }
  const group = heads / keyValueHeads;
  const out = new Float32Array((q.length / headSize) * valueSize);
  let token = 0;
  for (const { sequence, tokens, prefix } of segments) {
    const own = cache.kept(sequence);
    const shared = prefix === undefined ? NONE : cache.kept(prefix.sequence);
    const before = prefix?.length ?? 0;
    for (let t = 0; t < tokens; t++, token++) {
      const position = before + own.length - tokens + t;
      const first = firstSeen(position, shape);
      for (let head = 0; head < heads; head++) {
        const query = token * heads + head;
        const keyHead = Math.floor(head / group);
        const scores = new Float64Array(position + 1);
        let max = -Infinity;
        for (let j = first; j <= position; j++) {
          const from = j < before ? shared.keys : own.keys;
          const key = ((j < before ? j : j - before) * keyValueHeads + keyHead) * headSize;
          scores[j] = dot(q, query * headSize, from, key, headSize) * scale;
          max = Math.max(max, scores[j]!);
        }
        const { reference, sum } = softmaxSum(scores.subarray(first), max, sinks?.[head]);
        const mixed = new Float64Array(valueSize);
        for (let j = first; j <= position; j++) {
          const weight = Math.exp(scores[j]! - reference) / sum;
          const from = j < before ? shared.values : own.values;
          const start = ((j < before ? j : j - before) * keyValueHeads + keyHead) * valueSize;
          for (let d = 0; d < valueSize; d++) mixed[d]! += weight * from[start + d]!;
        }
        out.set(mixed, query * valueSize);
      }
    }
  }
  return out;
}

/** Refuses what does not fit before anything is appended. */
function check(
  q: Float32Array,
  k: Float32Array,
  v: Float32Array,
  cache: ReferenceCache,
  segments: readonly Segment[],
  shape: CachedAttentionShape,
): void {
  const { heads } = shape;
  const tokens = segments.reduce((sum, segment) => sum + segment.tokens, 0);
  const fail = (message: string) => new RangeError(`attendCached: ${message}`);
  if (heads < 1 || heads % cache.keyValueHeads !== 0) throw fail(`${heads} heads over ${cache.keyValueHeads}`);
  checkSight(shape, heads, "attendCached");
  if (q.length !== tokens * heads * cache.headSize) throw fail("q does not fit the segments");
  const rows = tokens * cache.keyValueHeads;
  if (k.length !== rows * cache.headSize || v.length !== rows * cache.valueSize) {
    throw fail("k or v does not fit the segments");
  }
  const after = new Map<number, number>();
  for (const { sequence, tokens: added } of segments) {
    if (!(Number.isInteger(sequence) && sequence >= 0 && sequence < 2 ** 32)) throw fail(`sequence ${sequence}`);
    if (!(Number.isInteger(added) && added >= 0)) throw fail(`a segment of ${added} tokens`);
    if (after.has(sequence)) throw fail(`sequence ${sequence} has two segments`);
    after.set(sequence, cache.length(sequence) + added);
  }
  for (const { sequence, prefix } of segments) {
    if (prefix === undefined) continue;
    const kept = after.get(prefix.sequence) ?? cache.length(prefix.sequence);
    if (prefix.sequence === sequence) throw fail(`sequence ${sequence} is its own prefix`);
    if (!(Number.isInteger(prefix.length) && prefix.length >= 0 && prefix.length <= kept)) {
      throw fail(`a prefix of ${prefix.length} of ${kept} tokens`);
    }
  }
}
