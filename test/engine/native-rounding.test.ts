import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { decode, encode } from "../../src/checkpoint/dtypes.js";
import { SCALE_DTYPES } from "../../src/checkpoint/quantised/integer-grid.js";
import type { DType, Tensor } from "../../src/checkpoint/tensor.js";
import type { Backend } from "../../src/engine/backend.js";
import type { RoundedMatrix, Rounding } from "../../src/engine/rounding.js";
import { Random } from "../../src/random.js";
import { cases, expectSame, withThreads } from "./native-cases.js";

const integers = fc.record({
  kind: fc.constant("integers" as const),
  scaleDtype: fc.constantFrom<DType>(...SCALE_DTYPES),
  grid: fc.record({
    bits: fc.constantFrom(4 as const, 8 as const),
    group: fc.constantFrom(undefined, 8, 32, 128),
    symmetric: fc.boolean(),
  }),
});
const e4m3 = fc.record({
  kind: fc.constant("e4m3" as const),
  scaleDtype: fc.constantFrom<DType>(...SCALE_DTYPES),
  block: fc.tuple(fc.integer({ min: 1, max: 9 }), fc.integer({ min: 1, max: 50 })),
});
const nvfp4 = fc.record({ kind: fc.constant("nvfp4" as const), globalScale: fc.constantFrom(1, 700, 0.01, 2 ** 60) });
const roundings: fc.Arbitrary<Rounding> = fc.oneof(integers, e4m3, fc.constant({ kind: "mxfp4" as const }), nvfp4);

const shapes = fc.record({
  seed: fc.nat(),
  rows: fc.integer({ min: 1, max: 12 }),
  columns: fc.integer({ min: 1, max: 70 }),
  dtype: fc.constantFrom<DType>("BF16", "F16", "F32", "F8_E5M2"),
  size: fc.constantFrom(1, 0.02, 1e-6, 1e30),
});

/** Columns that the groups of a rounding fit. */
function wholeGroups(columns: number, rounding: Rounding): number {
  const group = { integers: 1, e4m3: 1, mxfp4: 32, nvfp4: 16 }[rounding.kind];
  const size = rounding.kind === "integers" ? (rounding.grid.group ?? 1) : group;
  return Math.ceil(columns / size) * size;
}

/** Normal values with some outliers and zeros, and rows of zeros only. */
function weight(seed: number, rows: number, columns: number, dtype: DType, size: number): Tensor {
  const random = new Random(seed);
  const largest = { BF16: 1e38, F32: 1e38, F16: 60000, F8_E5M2: 50000 }[dtype as "BF16"];
  const values = Float32Array.from({ length: rows * columns }, (_, i) => {
    if (Math.floor(i / columns) % 5 === 3 || random.below(9) === 0) return random.below(2) === 0 ? 0 : -0;
    const value = size * random.normal() * (random.below(30) === 0 ? 50 : 1);
    return Math.max(-largest, Math.min(largest, value));
  });
  return { dtype, shape: [rows, columns], data: encode(dtype, values) };
}

function expectSameBytes(actual: RoundedMatrix, expected: RoundedMatrix): void {
  expectSame(actual.codes, expected.codes);
  expectSame(actual.scales, expected.scales);
  expect(actual.zeros).toEqual(expected.zeros);
}

const native = [...new Map(cases.map((each) => [each.variant, each])).values()];

describe.each(native)("rounding with $variant", ({ native, reference, variant, precision }) => {
  test("gives the bytes of the reference", () => {
    fc.assert(
      fc.property(roundings, shapes, (rounding, { seed, rows, columns, dtype, size }) => {
        const tensor = weight(seed, rows, wholeGroups(columns, rounding), dtype, size);
        expectSameBytes(native.round(tensor, rounding), reference.round(tensor, rounding));
        expect(native.largest(tensor)).toBe(reference.largest(tensor));
      }),
      { numRuns: 200 },
    );
  });

  test("halves between codes go to the even one", () => {
    // The largest of each group makes the scale 1.
    const row = (...values: number[]) => [...values, ...Array<number>(32 - values.length).fill(0)];
    const halves = [0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 0.25, 0.75, 1.25, 1.75, 3.5, 5, -5, 2, 3];
    const values = Float32Array.from([...row(...halves, 7.5), ...row(...halves, 6)]);
    const tensor: Tensor = { dtype: "F32", shape: [2, 32], data: encode("F32", values) };
    const grid = { bits: 4, group: 32, symmetric: true } as const;
    for (const rounding of [{ kind: "integers", grid, scaleDtype: "F32" }, { kind: "mxfp4" }] satisfies Rounding[])
      expect(native.round(tensor, rounding)).toEqual(reference.round(tensor, rounding));
  });

  test("the result does not depend on the number of threads", () => {
    const tensor = weight(5, 700, 256, "BF16", 1);
    const backends = withThreads(variant, precision, [1, 3]);
    const all: Rounding[] = [
      { kind: "integers", grid: { bits: 4, group: 128, symmetric: false }, scaleDtype: "BF16" },
      { kind: "e4m3", block: [128, 128], scaleDtype: "BF16" },
      { kind: "mxfp4" },
      { kind: "nvfp4", globalScale: 100 },
    ];
    for (const rounding of all) {
      const [one, three] = backends.map((backend) => backend.round(tensor, rounding));
      expectSameBytes(one!, three!);
      expectSameBytes(one!, reference.round(tensor, rounding));
    }
  });

  test.each([Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY])("%d shows in the scale", (value) => {
    const values = new Float32Array(64).fill(1);
    values[40] = value;
    const tensor: Tensor = { dtype: "F32", shape: [2, 32], data: encode("F32", values) };
    expect(Number.isFinite(native.largest(tensor))).toBe(false);
    for (const backend of [native, reference] satisfies Backend[]) {
      for (const symmetric of [true, false]) {
        const grid = { bits: 4, group: 32, symmetric } as const;
        const { scales } = backend.round(tensor, { kind: "integers", grid, scaleDtype: "BF16" });
        expect([...decode({ dtype: "BF16", data: scales })].map(Number.isFinite)).toEqual([true, false]);
      }
      const { scales } = backend.round(tensor, { kind: "e4m3", block: [1, 32], scaleDtype: "F16" });
      expect([...decode({ dtype: "F16", data: scales })].map(Number.isFinite)).toEqual([true, false]);
      expect(backend.round(tensor, { kind: "mxfp4" }).scales[1]).toBe(255);
    }
  });

  test("shapes that do not fit are refused", () => {
    const tensor = weight(1, 2, 24, "BF16", 1);
    const wrong: Rounding[] = [
      { kind: "mxfp4" },
      { kind: "nvfp4", globalScale: 1 },
      { kind: "integers", grid: { bits: 4, group: 7, symmetric: true }, scaleDtype: "BF16" },
      { kind: "integers", grid: { bits: 4, group: 8, symmetric: true }, scaleDtype: "F8_E5M2" },
    ];
    for (const backend of [native, reference])
      for (const rounding of wrong) expect(() => backend.round(tensor, rounding)).toThrow(RangeError);
    expect(() => native.round({ ...tensor, shape: [48] }, { kind: "mxfp4" })).toThrow(RangeError);
  });
});
