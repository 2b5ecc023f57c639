import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { decode, decodeIntegers, encode } from "../../src/checkpoint/dtypes.js";
import type { DType } from "../../src/checkpoint/tensor.js";
import { expectCode } from "./support.js";

/** Every code of a dtype of 8 or 16 bits. */
function allCodes(dtype: DType): Uint8Array {
  const wide = dtype === "F16" || dtype === "BF16";
  const codes = Array.from({ length: wide ? 65536 : 256 }, (_, code) => code);
  return wide ? new Uint8Array(Uint16Array.from(codes).buffer) : Uint8Array.from(codes);
}

const encodeOne = (dtype: DType, value: number) => {
  const data = encode(dtype, Float32Array.of(value));
  return data.length === 1 ? data[0]! : data[0]! + 256 * data[1]!;
};
const decodeOne = (dtype: DType, ...bytes: number[]) => decode({ dtype, data: Uint8Array.from(bytes) })[0]!;

/** The code that rounding to nearest even gives, found by the distances to all finite values of the same sign. */
function nearestCode(value: number, finite: readonly (readonly [number, number])[]): number {
  let best = finite[0]!;
  for (const candidate of finite) {
    const closer = Math.abs(candidate[1] - value) - Math.abs(best[1] - value);
    if (closer < 0 || (closer === 0 && candidate[0] % 2 === 0)) best = candidate;
  }
  return best[0];
}

const SMALL = ["F8_E4M3", "F8_E5M2", "F16", "BF16"] as const;

describe("floats of 8 and 16 bits", () => {
  it.each(SMALL)("%s: every code survives decoding and encoding, NaN payloads included", (dtype) => {
    const codes = allCodes(dtype);
    expect(Buffer.compare(encode(dtype, decode({ dtype, data: codes })), codes)).toBe(0);
  });

  it.each(["F8_E4M3", "F8_E5M2"] as const)("%s: rounds to the nearest value, ties to even", (dtype) => {
    const values = decode({ dtype, data: allCodes(dtype) });
    const finite = [...values]
      .map((value, code) => [code, value] as const)
      .filter(([, value]) => Number.isFinite(value));
    const greatest = Math.max(...finite.map(([, value]) => value));
    const middles = finite.slice(1).map(([, value], i) => (value + finite[i]![1]) / 2);
    const samples = [
      ...finite.map(([, value]) => value),
      ...middles,
      ...middles.map((x) => x * 1.0001),
      ...middles.map((x) => x * 0.9999),
    ];
    for (const sample of samples.map(Math.fround)) {
      if (Math.abs(sample) > greatest) continue;
      const signed = finite.filter(([code]) => code >= 128 === (sample < 0 || Object.is(sample, -0)));
      expect([sample, encodeOne(dtype, sample)]).toEqual([sample, nearestCode(sample, signed)]);
    }
  });

  // Values and codes of torch 2.15 on the CPU.
  it.each([
    [
      "F8_E4M3",
      [
        [448, 126],
        [464, 126],
        [465, 126],
        [1e9, 126],
        [Infinity, 126],
        [-Infinity, 254],
        [NaN, 127],
        [2 ** -10, 0],
        [1.01 * 2 ** -10, 1],
        [2 ** -9, 1],
        [-0, 128],
      ],
    ],
    [
      "F8_E5M2",
      [
        [449, 95],
        [480, 96],
        [57344, 123],
        [61439, 123],
        [61440, 124],
        [Infinity, 124],
        [-Infinity, 252],
        [2 ** -17, 0],
        [2 ** -16, 1],
        [-0, 128],
      ],
    ],
    [
      "F16",
      [
        [447, 24316],
        [463.9, 24384],
        [500, 24528],
        [65504, 31743],
        [65519.9, 31743],
        [65520, 31744],
        [1e9, 31744],
        [NaN, 32256],
        [2 ** -17, 128],
        [-0, 32768],
        [2 ** -25, 0],
        [1.01 * 2 ** -25, 1],
      ],
    ],
    [
      "BF16",
      [
        [1, 0x3f80],
        [1.00390625, 0x3f80],
        [1.01171875, 0x3f82],
        [3.4e38, 0x7f80],
        [3.38e38, 0x7f7e],
        [Infinity, 0x7f80],
        [NaN, 0x7fc0],
        [1e-40, 1],
        [-0, 0x8000],
      ],
    ],
  ] as const)("%s: encodes as torch does", (dtype, cases) => {
    expect(cases.map(([value]) => [value, encodeOne(dtype, value)])).toEqual(cases);
  });

  it("decodes the values of the formats' definitions", () => {
    expect([0x7e, 0x08, 0x01, 0x7f].map((code) => decodeOne("F8_E4M3", code))).toEqual([448, 2 ** -6, 2 ** -9, NaN]);
    expect([0x7b, 0x04, 0x01, 0x7c].map((code) => decodeOne("F8_E5M2", code))).toEqual([
      57344,
      2 ** -14,
      2 ** -16,
      Infinity,
    ]);
    expect([decodeOne("F16", 0xff, 0x7b), decodeOne("F16", 1, 0), decodeOne("BF16", 0x80, 0xff)]).toEqual([
      65504,
      2 ** -24,
      -Infinity,
    ]);
  });

  it("keeps a NaN whose payload lies below the format's bits a NaN", () => {
    const nan = new Float32Array(Uint32Array.of(0x7f800001, 0xff800001).buffer);
    for (const dtype of SMALL) {
      const data = encode(dtype, nan);
      expect(decode({ dtype, data }).every(Number.isNaN)).toBe(true);
    }
  });
});

describe("other dtypes", () => {
  it("round trips float32 bit by bit, and float64 within float32", () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 4, maxLength: 400 }), (bytes) => {
        const data = bytes.slice(0, bytes.length & ~3);
        expect(encode("F32", decode({ dtype: "F32", data }))).toEqual(data);
      }),
    );
    const values = Float32Array.of(0.1, -0, Infinity, -1e-45);
    expect(decode({ dtype: "F64", data: encode("F64", values) })).toEqual(values);
    expect(decode({ dtype: "F64", data: new Uint8Array(Float64Array.of(0.1, 1e300).buffer) })).toEqual(
      Float32Array.of(0.1, Infinity),
    );
  });

  it.each([
    ["I64", [-(2 ** 63), 2 ** 62, -1]],
    ["I32", [-(2 ** 31), 2 ** 24, 7]],
    ["I16", [-32768, 32767]],
    ["I8", [-128, 127]],
    ["U8", [0, 255]],
    ["BOOL", [0, 1]],
  ] as const)("%s: round trips", (dtype, values) => {
    expect([...decode({ dtype, data: encode(dtype, Float32Array.from(values)) })]).toEqual([...values]);
  });

  it.each([
    ["I64", 2 ** 63],
    ["I32", 2 ** 31],
    ["I16", 32768],
    ["I8", -129],
    ["U8", -1],
    ["BOOL", 2],
    ["I32", 0.5],
    ["U8", NaN],
  ] as const)("%s: refuses to encode %d", async (dtype, value) => {
    await expectCode("TENSOR_VALUE", () => encode(dtype, Float32Array.of(value)));
  });

  it("refuses integers that float32 cannot hold", async () => {
    await expectCode("TENSOR_VALUE", () =>
      decode({ dtype: "I32", data: new Uint8Array(Int32Array.of(2 ** 24 + 1).buffer) }),
    );
    const long = new Uint8Array(BigInt64Array.of(2n ** 62n + 1n).buffer);
    await expectCode("TENSOR_VALUE", () => decode({ dtype: "I64", data: long }));
  });

  it("decodes from any byte offset and into a given array", () => {
    const data = encode("F32", Float32Array.of(1, 2, 3));
    const shifted = new Uint8Array(data.length + 1);
    shifted.set(data, 1);
    const out = new Float32Array(3);
    expect(decode({ dtype: "F32", data: shifted.subarray(1) }, out)).toBe(out);
    expect([...out]).toEqual([1, 2, 3]);
    expect(() => decode({ dtype: "F32", data }, new Float32Array(2))).toThrow(RangeError);
    expect(() => decode({ dtype: "F32", data: data.subarray(1) })).toThrow(RangeError);
  });
});

describe("decodeIntegers", () => {
  it("reads every integer dtype", () => {
    expect([...decodeIntegers({ dtype: "I64", data: new Uint8Array(BigInt64Array.of(-1n, 151_936n).buffer) })]).toEqual(
      [-1, 151_936],
    );
    expect([...decodeIntegers({ dtype: "I16", data: new Uint8Array(Int16Array.of(-5, 9).buffer) })]).toEqual([-5, 9]);
    expect([...decodeIntegers({ dtype: "U8", data: Uint8Array.of(0, 255) })]).toEqual([0, 255]);
  });

  it("refuses what int32 cannot hold, and floats", async () => {
    for (const value of [2n ** 31n, -(2n ** 31n) - 1n, 2n ** 62n + 1n]) {
      await expectCode("TENSOR_VALUE", () =>
        decodeIntegers({ dtype: "I64", data: new Uint8Array(BigInt64Array.of(value).buffer) }),
      );
    }
    await expectCode("TENSOR_DTYPE", () => decodeIntegers({ dtype: "F32", data: new Uint8Array(4) }));
  });
});
