import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { decode, encode } from "../../src/checkpoint/dtypes.js";
import type { Backend, CachedAttentionShape, KeyValueCache, RotaryTable, Segment } from "../../src/engine/backend.js";
import { Random } from "../../src/random.js";
import { cases, expectClose, expectSame, normals, withThreads } from "./native-cases.js";

const ROUNDING = 2e-6;

interface Heads {
  readonly heads: number;
  readonly keyValueHeads: number;
  readonly headSize: number;
  readonly valueSize?: number;
}

/** Queries, keys and values of a sequence of tokens. */
interface Tokens {
  readonly q: Float32Array;
  readonly k: Float32Array;
  readonly v: Float32Array;
}

function randomTokens(random: Random, count: number, sizes: Heads): Tokens {
  const { heads, keyValueHeads, headSize, valueSize = headSize } = sizes;
  const make = (size: number) => normals(random, count * size);
  return { q: make(heads * headSize), k: make(keyValueHeads * headSize), v: make(keyValueHeads * valueSize) };
}

function slice(tokens: Tokens, from: number, to: number, sizes: Heads): Tokens {
  const { heads, keyValueHeads, headSize, valueSize = headSize } = sizes;
  const cut = (values: Float32Array, row: number) => values.subarray(from * row, to * row);
  return {
    q: cut(tokens.q, heads * headSize),
    k: cut(tokens.k, keyValueHeads * headSize),
    v: cut(tokens.v, keyValueHeads * valueSize),
  };
}

function concatenated(parts: readonly Tokens[]): Tokens {
  const join = (arrays: readonly Float32Array[]) => Float32Array.from(arrays.flatMap((array) => [...array]));
  return { q: join(parts.map(({ q }) => q)), k: join(parts.map(({ k }) => k)), v: join(parts.map(({ v }) => v)) };
}

/** Attends segments, each with its tokens, in one call. */
function attend(
  backend: Backend,
  cache: KeyValueCache,
  parts: readonly (Omit<Segment, "tokens"> & { readonly rows: Tokens })[],
  sizes: Heads,
  shape: Omit<CachedAttentionShape, "heads"> = { scale: 0.5 },
): Float32Array {
  const { q, k, v } = concatenated(parts.map(({ rows }) => rows));
  const segments = parts.map(({ rows, sequence, prefix }) => {
    return { sequence, prefix, tokens: rows.q.length / (sizes.heads * sizes.headSize) };
  });
  return backend.attendCached(q, k, v, cache, segments, { ...shape, heads: sizes.heads });
}

/** What one sequence should yield, by the reference backend's attention without a cache. */
function expected(reference: Backend, tokens: Tokens, sizes: Heads, shape: Omit<CachedAttentionShape, "heads">) {
  const kept = (values: Float32Array) =>
    reference.precision === "bf16" ? decode({ dtype: "BF16", data: encode("BF16", values) }) : values;
  const length = tokens.q.length / (sizes.heads * sizes.headSize);
  return reference.attention(tokens.q, kept(tokens.k), kept(tokens.v), { ...sizes, ...shape, sequences: 1, length });
}

describe.each(cases)("$variant $precision", ({ variant, precision, native, reference }) => {
  test.each<[string, Heads, number, number | undefined, Pick<CachedAttentionShape, "chunk" | "sinks">?]>([
    ["one token", { heads: 1, keyValueHeads: 1, headSize: 4 }, 1, undefined],
    ["grouped heads", { heads: 6, keyValueHeads: 2, headSize: 16 }, 130, undefined],
    ["more heads to a key than a block has rows", { heads: 100, keyValueHeads: 1, headSize: 8 }, 5, undefined],
    ["odd head size", { heads: 2, keyValueHeads: 1, headSize: 71 }, 70, undefined],
    ["window", { heads: 2, keyValueHeads: 1, headSize: 16 }, 200, 20],
    ["window of one", { heads: 2, keyValueHeads: 2, headSize: 16 }, 70, 1],
    ["window beyond the start", { heads: 2, keyValueHeads: 2, headSize: 16 }, 70, 1000],
    ["several chunks", { heads: 2, keyValueHeads: 1, headSize: 8 }, 1100, undefined],
    ["smaller values than keys", { heads: 4, keyValueHeads: 2, headSize: 192, valueSize: 100 }, 70, undefined],
    ["values of one number", { heads: 2, keyValueHeads: 1, headSize: 9, valueSize: 1 }, 66, 40],
    ["larger values than keys", { heads: 2, keyValueHeads: 2, headSize: 16, valueSize: 130 }, 70, undefined],
    ["latent attention", { heads: 32, keyValueHeads: 1, headSize: 576, valueSize: 512 }, 70, undefined],
    ["chunks of positions", { heads: 2, keyValueHeads: 1, headSize: 16 }, 300, undefined, { chunk: 48 }],
    ["chunks as long as pages", { heads: 2, keyValueHeads: 1, headSize: 16 }, 200, undefined, { chunk: 64 }],
    ["chunks of one position", { heads: 2, keyValueHeads: 1, headSize: 16 }, 70, undefined, { chunk: 1 }],
    ["chunks and a window", { heads: 2, keyValueHeads: 1, headSize: 16 }, 200, 30, { chunk: 77 }],
    ["sinks", { heads: 3, keyValueHeads: 1, headSize: 16 }, 130, 50, { sinks: Float32Array.of(-1, 0.5, 3) }],
    [
      "sinks far away",
      { heads: 4, keyValueHeads: 2, headSize: 8 },
      70,
      9,
      { sinks: Float32Array.of(-800, 800, 30, -30) },
    ],
  ])("%s: as without a cache, in one call and token by token", (_, sizes, length, window, options = {}) => {
    const tokens = randomTokens(new Random(length), length, sizes);
    const shape = { scale: 2 / Math.sqrt(sizes.headSize), window, ...options };
    const whole = attend(native, cacheOf(native, sizes), [{ sequence: 3, rows: tokens }], sizes, shape);
    expectClose(whole, expected(reference, tokens, sizes, shape), ROUNDING);
    const plain = attend(reference, cacheOf(reference, sizes), [{ sequence: 3, rows: tokens }], sizes, shape);
    expectClose(whole, plain, ROUNDING);

    const cache = cacheOf(native, sizes);
    const first = Math.max(0, length - 70);
    const parts = [attend(native, cache, [{ sequence: 3, rows: slice(tokens, 0, first, sizes) }], sizes, shape)];
    for (let i = first; i < length; i++) {
      parts.push(attend(native, cache, [{ sequence: 3, rows: slice(tokens, i, i + 1, sizes) }], sizes, shape));
      expect(cache.length(3)).toBe(i + 1);
    }
    expectSame(concatenated(parts.map((q) => ({ q, k: q, v: q }))).q, whole);
  });

  test("prefixes: as one sequence after the other's tokens", () => {
    const sizes = { heads: 4, keyValueHeads: 2, headSize: 12 };
    const random = new Random(1);
    const context = randomTokens(random, 150, sizes);
    const endings = [1, 5, 70].map((length) => randomTokens(random, length, sizes));
    for (const [shared, window, chunk] of [
      [150, undefined, undefined],
      [128, undefined, 140],
      [100, 30, undefined],
      [100, undefined, 64],
      [1, 3, undefined],
    ] as const) {
      const shape = { scale: 0.4, window, chunk, sinks: Float32Array.of(1, -1, 0, 2) };
      const prefix = { sequence: 0, length: shared };
      const parts = endings.map((rows, i) => ({ sequence: i + 1, rows, prefix }));
      // The prefix comes last, in the same call.
      const together = attend(native, cacheOf(native, sizes), [...parts, { sequence: 0, rows: context }], sizes, shape);
      const all = [{ sequence: 0, rows: context }, ...parts];
      const [ours, plain] = [native, reference].map((backend) => {
        return attend(backend, cacheOf(backend, sizes), all, sizes, shape);
      });
      expectClose(ours!, plain!, ROUNDING);
      const cache = cacheOf(native, sizes);
      const alone = [{ sequence: 0, rows: context }, ...parts].map((part) =>
        attend(native, cache, [part], sizes, shape),
      );
      const [own, ...rest] = alone;
      expectSame(together, concatenated([...rest, own!].map((q) => ({ q, k: q, v: q }))).q);
      for (const [i, rows] of endings.entries()) {
        const all = expected(reference, concatenated([slice(context, 0, shared, sizes), rows]), sizes, shape);
        expectClose(rest[i]!, all.subarray(shared * sizes.heads * sizes.headSize), ROUNDING);
      }
    }
  });

  test("any order of calls, with any number of threads, gives the same bytes", () => {
    const sizes = { heads: 2, keyValueHeads: 1, headSize: 6 };
    const backends = withThreads(variant, precision, [1, 3]);
    const plan = fc.record({
      seed: fc.nat(),
      lengths: fc.array(fc.integer({ min: 1, max: 90 }), { minLength: 1, maxLength: 4 }),
      window: fc.option(fc.integer({ min: 1, max: 100 }), { nil: undefined }),
      chunk: fc.option(fc.integer({ min: 1, max: 100 }), { nil: undefined }),
      cuts: fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 6 }),
    });
    fc.assert(
      fc.property(plan, ({ seed, lengths, window, chunk, cuts }) => {
        const random = new Random(seed);
        const shape = { scale: 0.5, window, chunk };
        const context = randomTokens(random, 75, sizes);
        const prefix = { sequence: 99, length: 1 + random.below(75) };
        const sequences = lengths.map((length, i) => ({
          sequence: i,
          rows: randomTokens(random, length, sizes),
          prefix: i % 2 === 0 ? prefix : undefined,
          length,
        }));
        const start = (backend: Backend) => {
          const cache = cacheOf(backend, sizes);
          attend(backend, cache, [{ sequence: 99, rows: context }], sizes, shape);
          return cache;
        };
        const single = start(backends[0]!);
        const wanted = sequences.map((part) => attend(backends[0]!, single, [part], sizes, shape));
        // All sequences advance together by changing numbers of tokens.
        const cache = start(backends[1]!);
        const row = sizes.heads * sizes.headSize;
        const done = lengths.map(() => 0);
        for (let call = 0; done.some((count, i) => count < lengths[i]!); call++) {
          const parts = sequences.flatMap(({ sequence, rows, prefix, length }, i) => {
            const from = done[i]!;
            const to = Math.min(length, from + cuts[(call + i) % cuts.length]!);
            return from < to ? [{ sequence, prefix, from, to, rows: slice(rows, from, to, sizes) }] : [];
          });
          const out = attend(backends[1]!, cache, parts, sizes, shape);
          let at = 0;
          for (const { sequence, from, to } of parts) {
            expectSame(out.subarray(at, at + (to - from) * row), wanted[sequence]!.subarray(from * row, to * row));
            at += (to - from) * row;
            done[sequence] = to;
          }
        }
      }),
      { numRuns: 25 },
    );
  });

  test("one long row is shared by threads and keeps its bytes", () => {
    const sizes = { heads: 2, keyValueHeads: 1, headSize: 8 };
    const tokens = randomTokens(new Random(2), 2000, sizes);
    const results = withThreads(variant, precision, [1, 4]).map((backend) => {
      const cache = cacheOf(backend, sizes);
      attend(backend, cache, [{ sequence: 0, rows: slice(tokens, 0, 1999, sizes) }], sizes);
      return attend(backend, cache, [{ sequence: 0, rows: slice(tokens, 1999, 2000, sizes) }], sizes);
    });
    expectSame(results[1]!, results[0]!);
    const all = expected(reference, tokens, sizes, { scale: 0.5 });
    // The mean of 2000 values is small beside them.
    expectClose(results[0]!, all.subarray(1999 * sizes.heads * sizes.headSize), 5 * ROUNDING);
  });

  test("truncated tokens are forgotten, and their pages serve others", () => {
    const sizes = { heads: 2, keyValueHeads: 2, headSize: 5 };
    const random = new Random(3);
    const cache = cacheOf(native, sizes);
    const tokens = randomTokens(random, 140, sizes);
    const nothing = { ...tokens, v: tokens.v.map((value, i) => (i < 60 * 10 ? value : Number.NaN)) };
    attend(native, cache, [{ sequence: 7, rows: nothing }], sizes);
    const full = cache.bytes;
    cache.truncate(7, 200);
    expect(cache.length(7)).toBe(140);
    cache.truncate(7, 60);
    expect(cache.length(7)).toBe(60);
    expect(cache.bytes).toBe(full / 3);
    const again = attend(native, cache, [{ sequence: 7, rows: slice(tokens, 60, 140, sizes) }], sizes);
    expectClose(again, expected(reference, tokens, sizes, { scale: 0.5 }).subarray(60 * 10), ROUNDING);
    cache.truncate(7, 0);
    cache.truncate(8, 0);
    expect([cache.length(7), cache.bytes]).toEqual([0, 0]);
    const other = attend(native, cache, [{ sequence: 8, rows: tokens }], sizes);
    expectClose(other, expected(reference, tokens, sizes, { scale: 0.5 }), ROUNDING);
  });

  test("segments without tokens, calls without segments, attention to NaN", () => {
    const sizes = { heads: 1, keyValueHeads: 1, headSize: 2 };
    const cache = cacheOf(native, sizes);
    const empty = randomTokens(new Random(1), 0, sizes);
    expect(attend(native, cache, [], sizes)).toEqual(new Float32Array(0));
    expect(attend(native, cache, [{ sequence: 0, rows: empty }], sizes)).toEqual(new Float32Array(0));
    expect([cache.length(0), cache.bytes]).toEqual([0, 0]);
    const q = Float32Array.of(1, Number.NaN);
    expect(attend(native, cache, [{ sequence: 0, rows: { q, k: q, v: q } }], sizes).every(Number.isNaN)).toBe(true);
  });

  test("what does not fit is a range error, and nothing is appended", () => {
    const sizes = { heads: 2, keyValueHeads: 1, headSize: 2 };
    const cache = cacheOf(native, sizes);
    const rows = randomTokens(new Random(4), 3, sizes);
    const shape = { heads: 2, scale: 1 };
    const call = (segments: Segment[], changes: Partial<Tokens> = {}, changed: Partial<CachedAttentionShape> = {}) => {
      const { q, k, v } = { ...rows, ...changes };
      return () => native.attendCached(q, k, v, cache, segments, { ...shape, ...changed });
    };
    const three = [{ sequence: 0, tokens: 3 }];
    const refused: (() => unknown)[] = [
      call([{ sequence: 0, tokens: 2 }]),
      call([{ sequence: 0, tokens: 4 }]),
      call([{ sequence: -1, tokens: 3 }]),
      call([{ sequence: 0.5, tokens: 3 }]),
      call([{ sequence: 2 ** 32, tokens: 3 }]),
      call([
        { sequence: 0, tokens: 2 },
        { sequence: 0, tokens: 1 },
      ]),
      call([{ sequence: 0, tokens: 3, prefix: { sequence: 1, length: 1 } }]),
      call([{ sequence: 0, tokens: 3, prefix: { sequence: 0, length: 1 } }]),
      call([
        { sequence: 0, tokens: 2, prefix: { sequence: 1, length: 2 } },
        { sequence: 1, tokens: 1 },
      ]),
      call(three, { k: new Float32Array(5) }),
      call(three, { v: new Float32Array(5) }),
      call(three, { q: new Float32Array(11) }),
      call(three, {}, { heads: 3 }),
      call(three, {}, { heads: 0 }),
      call(three, {}, { window: 0 }),
      () => native.keyValueCache(0, 4),
      () => native.keyValueCache(1 << 20, 1 << 20),
      () => cache.truncate(0, -1),
    ];
    for (const each of refused) expect(each).toThrow(RangeError);
    expect(cache.bytes).toBe(0);
    cache.dispose();
    cache.dispose();
    expect([cache.length(0), cache.bytes]).toEqual([0, 0]);
    expect(call(three)).toThrow(/disposed/);
  });

  test.each(["halves", "adjacent"] as const)("rotation at given positions, %s", (pairing) => {
    const random = new Random(5);
    const [heads, headSize, half, length] = [3, 10, 4, 6];
    const [cos, sin] = [normals(random, length * half), normals(random, length * half)];
    const table: RotaryTable = { length, cos, sin, pairing };
    const x = normals(random, length * heads * headSize);
    const inOrder = x.slice();
    native.rotate(inOrder, heads, headSize, table);
    const plain = x.slice();
    reference.rotate(plain, heads, headSize, table);
    expectClose(inOrder, plain, ROUNDING);
    const positions = Int32Array.of(5, 0, 3, 3, 1);
    const row = heads * headSize;
    const at = (values: Float32Array) =>
      Float32Array.from(
        [...positions].flatMap((position) => [...values.subarray(position * row, (position + 1) * row)]),
      );
    const given = at(x);
    native.rotateAt(given, heads, headSize, table, positions);
    expectSame(given, at(inOrder));
    for (const wrong of [Int32Array.of(5, 0, 3, 3, 6), Int32Array.of(5, 0, 3, 3, -1), Int32Array.of(5, 0, 3, 3)]) {
      expect(() => native.rotateAt(given, heads, headSize, table, wrong)).toThrow(RangeError);
    }
    const overlapping = new Int32Array(given.buffer, 0, 5);
    expect(() => native.rotateAt(given, heads, headSize, table, overlapping)).toThrow(RangeError);
  });
});

function cacheOf(backend: Backend, sizes: Heads): KeyValueCache {
  return backend.keyValueCache(sizes.keyValueHeads, sizes.headSize, sizes.valueSize);
}
