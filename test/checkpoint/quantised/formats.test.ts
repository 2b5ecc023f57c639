import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { bytesPerElement, decode, encode } from "../../../src/checkpoint/dtypes.js";
import { weightFormat } from "../../../src/checkpoint/quantised/formats.js";
import { type IntegerCodes, SCALE_DTYPES } from "../../../src/checkpoint/quantised/integer-grid.js";
import { packColumns, packRows, unpackColumns, unpackRows } from "../../../src/checkpoint/quantised/integer-packing.js";
import {
  type QuantisedWeight,
  WEIGHT_FORMAT_NAMES,
  type WeightFormatName,
} from "../../../src/checkpoint/quantised/weight-format.js";
import type { DType, Tensor } from "../../../src/checkpoint/tensor.js";
import { createReferenceBackend } from "../../../src/engine/reference/reference-backend.js";
import { ReamError } from "../../../src/errors.js";
import { Random } from "../../../src/random.js";
import { expectCode } from "../support.js";

const backend = createReferenceBackend("f32");
const formats = WEIGHT_FORMAT_NAMES.map(weightFormat);

function normal(seed: number, rows: number, columns: number, dtype: DType = "BF16"): Tensor {
  const random = new Random(seed);
  const values = Float32Array.from({ length: rows * columns }, () => 0.05 * random.normal());
  return { dtype, shape: [rows, columns], data: encode(dtype, values) };
}

/** Root of the mean squared error, over that of the values. */
function relativeError(decoded: Tensor, weight: Tensor): number {
  const [found, values] = [decode(decoded), decode(weight)];
  const error = found.reduce((sum, value, i) => sum + (value - values[i]!) ** 2, 0);
  return Math.sqrt(error / values.reduce((sum, value) => sum + value ** 2, 0));
}

describe.each(formats)("$name", (format) => {
  it("stores parts of the sizes that it says, and decodes them to nearly the same values", () => {
    const cases = fc.record({
      seed: fc.nat(),
      rows: fc.integer({ min: 1, max: 20 }),
      groups: fc.integer({ min: 1, max: 3 }),
      dtype: fc.constantFrom<DType>(...SCALE_DTYPES),
    });
    fc.assert(
      fc.property(cases, ({ seed, rows, groups, dtype }) => {
        const shape = [rows, 128 * groups] as const;
        expect(format.refusal(shape)).toBeUndefined();
        const weight = normal(seed, ...shape, dtype);
        const parts = format.encode(backend, weight, dtype);
        const stored = format.stored(shape, dtype);
        expect([...parts.keys()]).toEqual(stored.map(({ suffix }) => suffix));
        for (const part of stored) {
          const { data, ...rest } = parts.get(part.suffix)!;
          expect({ suffix: part.suffix, ...rest }).toEqual(part);
          expect(data.length).toBe(part.shape.reduce((a, b) => a * b, bytesPerElement(part.dtype)));
        }
        const decoded = format.decode(parts, shape);
        expect(decoded.shape).toEqual(shape);
        expect(decoded.dtype).toBe(format.name.endsWith("fp4") ? "BF16" : dtype);
        expect(relativeError(decoded, weight)).toBeLessThan(ERRORS[format.name]);
      }),
      { numRuns: 20 },
    );
  });

  it("decodes rows as it decodes the whole", () => {
    const [rows, columns] = [300, 128];
    const parts = format.encode(backend, normal(3, rows, columns), "BF16");
    const whole = decode(format.decode(parts, [rows, columns]));
    const [begin, end] = [130, 271];
    const codes = parts.get(format.codes)!;
    const rowBytes = codes.data.length / rows;
    const some: Tensor = {
      ...codes,
      shape: [end - begin, ...codes.shape.slice(1)],
      data: codes.data.slice(begin * rowBytes, end * rowBytes),
    };
    const decoded = format.decode(new Map([...parts, [format.codes, some]]), [end - begin, columns], begin);
    expect(decode(decoded)).toEqual(whole.subarray(begin * columns, end * columns));
  });

  it("is exact for zeros", () => {
    const zeros: Tensor = { dtype: "BF16", shape: [4, 128], data: new Uint8Array(1024) };
    const decoded = format.decode(format.encode(backend, zeros, "BF16"), [4, 128]);
    expect(decode(decoded).every((value) => value === 0)).toBe(true);
  });

  it.each([Number.NaN, Number.POSITIVE_INFINITY])("refuses a weight with %d", async (value) => {
    const weight = normal(1, 2, 128, "F32");
    const values = decode(weight);
    values[130] = value;
    await expectCode("NOT_FINITE", () => format.encode(backend, { ...weight, data: encode("F32", values) }, "F32"));
  });

  it("refuses columns that are no groups", () => {
    const reason = format.refusal([4, 129]);
    if (["int8", "int4-channel", "fp8", "fp8-block"].includes(format.name)) {
      expect(reason).toBeUndefined();
      expect(format.decode(format.encode(backend, normal(1, 4, 129), "BF16"), [4, 129]).shape).toEqual([4, 129]);
    } else {
      expect(reason).toMatch(/^129 columns are no multiple of the group of/);
      expect(() => format.encode(backend, normal(1, 4, 129), "BF16")).toThrow(RangeError);
    }
  });

  it("meets damaged parts with a named error or a RangeError, never with numbers that are not finite", () => {
    const shape = [5, 128] as const;
    const sound = format.encode(backend, normal(7, ...shape), "BF16");
    const damages = fc.record({
      part: fc.constantFrom(...sound.keys()),
      kind: fc.constantFrom("missing", "bytes", "shape", "dtype", "short"),
      seed: fc.nat(),
    });
    fc.assert(
      fc.property(fc.array(damages, { minLength: 1, maxLength: 3 }), (list) => {
        const parts = list.reduce(damaged, sound);
        try {
          const { dtype, data } = format.decode(parts, shape);
          expect([...decode({ dtype, data })].every(Number.isFinite)).toBe(true);
        } catch (error) {
          expect(error instanceof RangeError || error instanceof ReamError, String(error)).toBe(true);
          if (error instanceof ReamError) expect(error.code).toBe("QUANTISED_VALUE");
        }
      }),
      { numRuns: 150 },
    );
  });
});

/** Bounds of the relative error on normal values: a fifth above what is measured. */
const ERRORS: Readonly<Record<WeightFormatName, number>> = {
  int8: 0.012,
  "int4-channel": 0.2,
  "int4-g32": 0.13,
  "int4-g128": 0.15,
  "int4-g32-asym": 0.12,
  "int4-g128-asym": 0.14,
  fp8: 0.035,
  "fp8-block": 0.035,
  mxfp4: 0.15,
  nvfp4: 0.13,
};

function damaged(
  parts: QuantisedWeight,
  { part, kind, seed }: { part: string; kind: string; seed: number },
): QuantisedWeight {
  const changed = new Map(parts);
  const tensor = changed.get(part);
  if (kind === "missing" || tensor === undefined) changed.delete(part);
  else if (kind === "bytes") {
    const data = tensor.data.slice();
    for (let i = 0; i < 4; i++) data[(seed * (i + 1)) % data.length] = (seed >> i) & 255;
    changed.set(part, { ...tensor, data });
  } else if (kind === "shape") {
    changed.set(part, { ...tensor, shape: seed % 2 === 0 ? [...tensor.shape, 1] : tensor.shape.slice(1) });
  } else if (kind === "dtype") {
    changed.set(part, { ...tensor, dtype: (["F32", "U8", "I8", "F16"] as const)[seed % 4]! });
  } else changed.set(part, { ...tensor, data: tensor.data.subarray(seed % tensor.data.length) });
  return changed;
}

describe("formats store", () => {
  it("of fp8-block a scale for each block, the last ones partial", () => {
    const weight = normal(2, 130, 129);
    const { data } = weightFormat("fp8-block").encode(backend, weight, "F32").get("weight_scale")!;
    const values = decode(weight);
    const largest = [0, 0, 0, 0];
    for (const [i, value] of values.entries()) {
      const block = 2 * Number(Math.floor(i / 129) >= 128) + Number(i % 129 === 128);
      largest[block] = Math.max(largest[block]!, Math.abs(value));
    }
    expect([...decode({ dtype: "F32", data })]).toEqual(largest.map((magnitude) => Math.fround(magnitude / 448)));
  });

  it("of nvfp4 the global scale of the magnitude that is given", () => {
    const format = weightFormat("nvfp4");
    const weight = normal(2, 4, 32);
    const scaleOf = (largest?: number) =>
      decode(format.encode(backend, weight, "BF16", largest).get("weight_global_scale")!)[0]!;
    expect(scaleOf()).toBe(Math.fround(2688 / backend.largest(weight)));
    expect(scaleOf(3)).toBe(896);
    expect(scaleOf(0)).toBe(1);
    const decoded = format.decode(format.encode(backend, weight, "BF16", 3), [4, 32]);
    expect(relativeError(decoded, weight)).toBeLessThan(0.13);
  });

  it("the integers that were given, in groups by index too", () => {
    const format = weightFormat("int4-g32-asym");
    const given: IntegerCodes = {
      ...{ rows: 9, columns: 64 },
      codes: Int8Array.from({ length: 9 * 64 }, (_, i) => ((i * 7) % 16) - 8),
      scales: Float32Array.from({ length: 18 }, (_, i) => 2 ** -(i % 6)),
      zeros: Int8Array.from({ length: 18 }, (_, i) => (i % 16) - 8),
    };
    const decoded = (groupOfColumn?: Int32Array) =>
      decode(format.decode(format.pack!({ ...given, groupOfColumn }, "BF16"), [9, 64]));
    const expected = (groupOf: (column: number) => number) =>
      Float32Array.from(given.codes, (code, i) => {
        const group = 2 * Math.floor(i / 64) + groupOf(i % 64);
        return (code - given.zeros![group]!) * given.scales[group]!;
      });
    expect(decoded()).toEqual(expected((column) => Math.floor(column / 32)));
    expect(decoded(Int32Array.from({ length: 64 }, (_, i) => i % 2))).toEqual(expected((column) => column % 2));
    expect(() => decoded(Int32Array.from({ length: 64 }, (_, i) => i))).toThrow(RangeError);
    expect(() => weightFormat("int4-g32").pack!(given, "BF16")).toThrow(RangeError);
  });
});

describe("packing of integers", () => {
  it("is compressed-tensors': the first code in the lowest bits of a word, without a sign", () => {
    const codes = Int8Array.of(-8, -7, 7, 0, 1, 2, 3, 4, 5);
    const words = new Uint32Array(packRows(codes, 1, 9, 4).buffer);
    expect([...words]).toEqual([0xcba98f10, 0xd]);
    expect([...new Uint32Array(packRows(Int8Array.of(-128, 127, 0), 1, 3, 8).buffer)]).toEqual([0x80ff00]);
    expect([...new Uint32Array(packColumns(codes, 9, 1, 4).buffer)]).toEqual([0xcba98f10, 0xd]);
  });

  it("is undone", () => {
    const cases = fc.tuple(
      fc.integer({ min: 1, max: 20 }),
      fc.integer({ min: 1, max: 20 }),
      fc.constantFrom(4 as const, 8 as const),
      fc.nat(),
    );
    fc.assert(
      fc.property(cases, ([rows, columns, bits, seed]) => {
        const random = new Random(seed);
        const codes = Int8Array.from({ length: rows * columns }, () => random.below(2 ** bits) - 2 ** (bits - 1));
        expect(unpackRows(packRows(codes, rows, columns, bits), rows, columns, bits)).toEqual(codes);
        expect(unpackColumns(packColumns(codes, rows, columns, bits), rows, columns, bits)).toEqual(codes);
      }),
    );
  });
});
