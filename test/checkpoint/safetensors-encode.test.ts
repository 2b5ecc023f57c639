import { createHash } from "node:crypto";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { DTYPE_BITS } from "../../src/checkpoint/dtypes.js";
import { encodeSafetensors, layOutTensors, tensorBytes } from "../../src/checkpoint/safetensors-encode.js";
import { parseSafetensorsHeader } from "../../src/checkpoint/safetensors-header.js";
import type { StoredDType, Tensor } from "../../src/checkpoint/tensor.js";

const DTYPES = Object.keys(DTYPE_BITS) as StoredDType[];

describe("layOutTensors", () => {
  it("orders all dtypes as the reference writer 0.8 does", () => {
    const { ordered } = layOutTensors(DTYPES.map((dtype) => ({ name: dtype, dtype, shape: [4] })));
    const written =
      "U64 I64 F64 C64 F32 U32 I32 BF16 F16 U16 I16 F8_E5M2FNUZ F8_E4M3FNUZ F8_E8M0 F8_E4M3 F8_E5M2 I8 U8";
    expect(ordered.map(({ name }) => name)).toEqual([...written.split(" "), "F6_E3M2", "F6_E2M3", "F4", "BOOL"]);
  });

  it("refuses two tensors of one name, and the name of the metadata", () => {
    const tensor = { dtype: "U8", shape: [1] } as const;
    expect(() =>
      layOutTensors([
        { name: "a", ...tensor },
        { name: "a", ...tensor },
      ]),
    ).toThrow(RangeError);
    expect(() => layOutTensors([{ name: "__metadata__", ...tensor }])).toThrow(RangeError);
    expect(() => layOutTensors([{ name: "a", dtype: "F4", shape: [1] }])).toThrow(RangeError);
  });
});

describe("encodeSafetensors", () => {
  it("writes the bytes of the reference writer", () => {
    const bytes = encodeSafetensors(
      new Map<string, Tensor>([
        ["b", { dtype: "BF16", shape: [2, 2], data: Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8) }],
        ['a."é"', { dtype: "BF16", shape: [1], data: Uint8Array.of(9, 10) }],
        ["z", { dtype: "F32", shape: [], data: Uint8Array.of(0, 0, 128, 63) }],
        ["1", { dtype: "U8", shape: [0, 3], data: new Uint8Array(0) }],
      ]),
      { format: "pt" },
    );
    // Made with the Python package safetensors 0.8.0 from the same tensors.
    expect(createHash("sha256").update(bytes).digest("hex")).toBe(
      "2d5748b1bf54fecf3106a10396dcb5726f1900d233864832bc2f29a2635c99e1",
    );
  });

  it("refuses data of another size than the shape's", () => {
    const tensor = { dtype: "F32", shape: [2], data: new Uint8Array(4) } as const;
    expect(() => encodeSafetensors(new Map([["a", tensor]]))).toThrow(RangeError);
  });

  it("is read back by the header's parser, whatever the names", () => {
    const names = fc.uniqueArray(
      fc.string({ unit: "grapheme", maxLength: 12 }).filter((name) => name !== "__metadata__"),
      { maxLength: 12 },
    );
    const kinds = fc.array(fc.tuple(fc.constantFrom(...DTYPES), fc.array(fc.nat(3), { maxLength: 4 })), {
      minLength: 12,
      maxLength: 12,
    });
    fc.assert(
      fc.property(names, kinds, fc.dictionary(fc.string(), fc.string()), (some, kind, metadata) => {
        const tensors = some.map((name, i) => ({ name, dtype: kind[i]![0], shape: [...kind[i]![1], 4] }));
        const { head } = layOutTensors(tensors, metadata);
        expect(head.length % 8).toBe(0);
        expect(Number(new DataView(head.buffer).getBigUint64(0, true))).toBe(head.length - 8);
        const header = parseSafetensorsHeader(head.subarray(8), "x");
        expect(Object.fromEntries(header.metadata)).toEqual({ ...metadata });
        expect(header.dataBytes).toBe(tensors.reduce((sum, tensor) => sum + tensorBytes(tensor), 0));
        expect(new Set(header.tensors.keys())).toEqual(new Set(some));
        for (const { name, dtype, shape } of tensors) expect(header.tensors.get(name)).toMatchObject({ dtype, shape });
      }),
    );
  });
});
