import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { decode, encode } from "../../src/checkpoint/dtypes.js";
import type { Precision, RotaryTable, Segment } from "../../src/engine/backend.js";
import { createReferenceBackend } from "../../src/engine/reference/reference-backend.js";
import { Random } from "../../src/random.js";

const HEADS = { heads: 4, keyValueHeads: 2, headSize: 6 };
const SCALE = 0.4;

function normals(random: Random, count: number): Float32Array {
  return Float32Array.from({ length: count }, () => random.normal());
}

function tokens(random: Random, count: number) {
  const { heads, keyValueHeads, headSize } = HEADS;
  return {
    q: normals(random, count * heads * headSize),
    k: normals(random, count * keyValueHeads * headSize),
    v: normals(random, count * keyValueHeads * headSize),
  };
}

const asKept = (precision: Precision, values: Float32Array) =>
  precision === "bf16" ? decode({ dtype: "BF16", data: encode("BF16", values) }) : values;

describe.each(["f32", "bf16"] as const)("%s", (precision) => {
  const backend = createReferenceBackend(precision);
  const makeCache = () => backend.keyValueCache(HEADS.keyValueHeads, HEADS.headSize);

  test("a sequence in any pieces is as attention without a cache, a prefix of another one included", () => {
    const sizes = fc.array(fc.integer({ min: 1, max: 6 }), { minLength: 1, maxLength: 5 });
    const window = fc.option(fc.integer({ min: 1, max: 8 }), { nil: undefined });
    fc.assert(
      fc.property(sizes, fc.nat(6), window, fc.nat(), (pieces, prefixLength, width, seed) => {
        const length = prefixLength + pieces.reduce((sum, size) => sum + size, 0);
        const { q, k, v } = tokens(new Random(seed), length);
        const shape = { ...HEADS, scale: SCALE, window: width, sequences: 1, length };
        const whole = backend.attention(q, asKept(precision, k), asKept(precision, v), shape);
        const cache = makeCache();
        const out: number[] = [];
        let begin = 0;
        const run = (size: number, segment: Omit<Segment, "tokens">) => {
          const cut = (values: Float32Array) => {
            const row = values.length / length;
            return values.subarray(begin * row, (begin + size) * row);
          };
          const segments = [{ ...segment, tokens: size }];
          const shape = { heads: HEADS.heads, scale: SCALE, window: width };
          out.push(...backend.attendCached(cut(q), cut(k), cut(v), cache, segments, shape));
          begin += size;
        };
        if (prefixLength > 0) run(prefixLength, { sequence: 9 });
        const prefix = prefixLength > 0 ? { sequence: 9, length: prefixLength } : undefined;
        for (const size of pieces) run(size, { sequence: 4, prefix });
        expect(cache.length(4)).toBe(length - prefixLength);
        const largest = out.reduce((most, value, i) => Math.max(most, Math.abs(value - whole[i]!)), 0);
        expect(largest).toBeLessThan(1e-6);
      }),
      { numRuns: 50 },
    );
  });

  test("truncated tokens are gone, and so is the memory of what is forgotten", () => {
    const cache = makeCache();
    const { q, k, v } = tokens(new Random(1), 5);
    const attend = () =>
      backend.attendCached(q, k, v, cache, [{ sequence: 1, tokens: 5 }], { heads: HEADS.heads, scale: SCALE });
    const first = attend();
    cache.truncate(1, 2);
    expect(cache.length(1)).toBe(2);
    cache.truncate(1, 0);
    expect([cache.length(1), cache.bytes]).toEqual([0, 0]);
    expect(attend()).toEqual(first);
    cache.dispose();
    expect(cache.bytes).toBe(0);
  });

  test("what does not fit is refused, and nothing is appended", () => {
    const cache = makeCache();
    const { q, k, v } = tokens(new Random(1), 2);
    const attend = (segments: readonly Segment[], heads = HEADS.heads, window?: number) =>
      backend.attendCached(q, k, v, cache, segments, { heads, scale: SCALE, window });
    const two = { sequence: 1, tokens: 2 };
    for (const segments of [
      [{ sequence: 1, tokens: 3 }],
      [
        { sequence: 1, tokens: 1 },
        { sequence: 1, tokens: 1 },
      ],
      [{ sequence: -1, tokens: 2 }],
      [{ ...two, prefix: { sequence: 1, length: 1 } }],
      [{ ...two, prefix: { sequence: 2, length: 1 } }],
    ]) {
      expect(() => attend(segments)).toThrow(RangeError);
    }
    expect(() => attend([two], 3)).toThrow(RangeError);
    expect(() => attend([two], HEADS.heads, 0)).toThrow(RangeError);
    expect([cache.length(1), cache.bytes]).toEqual([0, 0]);
  });
});

test.each(["halves", "adjacent"] as const)(
  "%s: rotateAt is rotate where positions are in order, and each token turns by its own",
  (pairing) => {
    const backend = createReferenceBackend("f32");
    const random = new Random(3);
    const [length, half] = [7, 2];
    const angles = normals(random, length * half);
    const [cos, sin] = [angles.map(Math.cos), angles.map(Math.sin)];
    const table: RotaryTable = { length, cos, sin, pairing };
    const x = normals(random, length * 2 * 6);
    const [rotated, placed] = [x.slice(), x.slice()];
    backend.rotate(rotated, 2, 6, table);
    backend.rotateAt(
      placed,
      2,
      6,
      table,
      Int32Array.from({ length }, (_, i) => i),
    );
    expect(placed).toEqual(rotated);

    const backwards = Float32Array.from(
      Array.from({ length }, (_, i) => [...x.subarray((length - 1 - i) * 12, (length - i) * 12)]).flat(),
    );
    backend.rotateAt(
      backwards,
      2,
      6,
      table,
      Int32Array.from({ length }, (_, i) => length - 1 - i),
    );
    for (let i = 0; i < length; i++) {
      expect(backwards.slice(i * 12, (i + 1) * 12)).toEqual(rotated.slice((length - 1 - i) * 12, (length - i) * 12));
    }
    // One pair turned by hand.
    const [a, b, c, d] = [x[12]!, x[12 + (pairing === "halves" ? half : 1)]!, cos[half]!, sin[half]!];
    expect(rotated[12]).toBeCloseTo(a * c - b * d, 5);
    expect(rotated[12 + (pairing === "halves" ? half : 1)]).toBeCloseTo(b * c + a * d, 5);
    for (const position of [-1, length]) {
      expect(() => backend.rotateAt(x.slice(0, 12), 2, 6, table, Int32Array.of(position))).toThrow(RangeError);
    }
  },
);
