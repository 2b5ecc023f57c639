import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { codeBytes, type ScaledCodes } from "../../src/engine/scaled-codes.js";
import { Random } from "../../src/random.js";
import { cases, expectSame } from "./native-cases.js";

const native = [...new Map(cases.map((each) => [each.variant, each])).values()];

const scaledCodes: fc.Arbitrary<ScaledCodes> = fc
  .record({
    kind: fc.constantFrom("int4" as const, "uint8" as const, "int8" as const, "e4m3" as const, "e2m1" as const),
    dtype: fc.constantFrom("BF16" as const, "F16" as const, "F32" as const),
    rows: fc.integer({ min: 1, max: 9 }),
    columns: fc.integer({ min: 1, max: 50 }),
    block: fc.tuple(fc.integer({ min: 1, max: 4 }), fc.integer({ min: 1, max: 60 })),
    firstRow: fc.nat({ max: 9 }),
    zeros: fc.boolean(),
    size: fc.constantFrom(1, 1e-6, 1e-38, 1e36),
    seed: fc.nat(),
  })
  .map(({ seed, zeros, size, ...shape }) => {
    const { kind, rows, columns, block, firstRow } = shape;
    const random = new Random(seed);
    const count = Math.ceil((firstRow + rows) / block[0]) * Math.ceil(columns / block[1]);
    return {
      ...shape,
      codes: Uint8Array.from({ length: rows * codeBytes(kind, columns) }, () =>
        random.below(kind === "e4m3" ? 127 : 256),
      ),
      factors: Float32Array.from({ length: count }, () => size * random.normal()),
      zeros: zeros ? Int8Array.from({ length: count }, () => random.below(256) - 128) : undefined,
    };
  });

describe.each(native)("values of codes with $variant", ({ native, reference }) => {
  test("have the bytes of the reference", () => {
    fc.assert(
      fc.property(scaledCodes, (scaled) => {
        const [found, expected] = [native.expand(scaled), reference.expand(scaled)];
        expectSame(found.data, expected.data);
        expect(found.finite).toBe(expected.finite);
      }),
      { numRuns: 300 },
    );
  });

  test("those that are not finite are told", () => {
    const sound: ScaledCodes = {
      ...{ kind: "e4m3", dtype: "F16", rows: 2, columns: 20, block: [1, 10], firstRow: 1 },
      ...{ codes: new Uint8Array(40).fill(0x38), factors: new Float32Array(6).fill(2) },
    };
    const changed: [finite: boolean, scaled: ScaledCodes][] = [
      [true, sound],
      [false, { ...sound, codes: sound.codes.with(39, 0xff) }],
      [false, { ...sound, factors: sound.factors.with(5, Number.NaN) }],
      [false, { ...sound, factors: sound.factors.with(2, 70_000) }],
      // Of a row before those that are decoded.
      [true, { ...sound, factors: sound.factors.with(1, Number.NaN) }],
    ];
    for (const backend of [native, reference])
      for (const [finite, scaled] of changed) expect(backend.expand(scaled).finite).toBe(finite);
  });

  test("what does not fit is refused", () => {
    const scaled: ScaledCodes = {
      ...{ kind: "int4", dtype: "BF16", rows: 2, columns: 20, block: [1, 10], firstRow: 0 },
      ...{ codes: new Uint8Array(24), factors: new Float32Array(4) },
    };
    const wrong: ScaledCodes[] = [
      { ...scaled, codes: new Uint8Array(23) },
      { ...scaled, factors: new Float32Array(3) },
      { ...scaled, firstRow: 1 },
      { ...scaled, zeros: new Int8Array(3) },
    ];
    for (const backend of [native, reference]) {
      expect(backend.expand(scaled).data).toHaveLength(80);
      for (const each of wrong) expect(() => backend.expand(each)).toThrow(RangeError);
    }
  });
});
