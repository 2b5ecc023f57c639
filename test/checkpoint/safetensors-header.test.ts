import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { parseSafetensorsHeader } from "../../src/checkpoint/safetensors-header.js";
import { ReamError } from "../../src/errors.js";
import { expectCode } from "./support.js";

const parse = (text: string) => parseSafetensorsHeader(Buffer.from(text), "x.safetensors");
/** Header with one tensor "a" described by this text. */
const one = (text: string) => `{"a":{${text}}}`;
/** Header with one F32 tensor of a shape and offsets. */
const f32 = (shape: string, offsets: string) => one(`"dtype":"F32","shape":${shape},"data_offsets":${offsets}`);

describe("parseSafetensorsHeader", () => {
  it("reads tensors in the order of their data, and metadata", () => {
    const { tensors, metadata, dataBytes } = parse(
      ` {"b":{"dtype":"BF16","shape":[2,3],"data_offsets":[4,16]},"__metadata__":{"format":"pt","b":""},
        "a":{"data_offsets":[0,4],"shape":[],"dtype":"F32"},"none":{"dtype":"I8","shape":[0,5],"data_offsets":[4,4]}}   `,
    );
    expect([...tensors.values()]).toEqual([
      { name: "a", dtype: "F32", shape: [], file: "x.safetensors", bytes: 4, offset: 0 },
      { name: "none", dtype: "I8", shape: [0, 5], file: "x.safetensors", bytes: 0, offset: 4 },
      { name: "b", dtype: "BF16", shape: [2, 3], file: "x.safetensors", bytes: 12, offset: 4 },
    ]);
    expect([...metadata]).toEqual([
      ["format", "pt"],
      ["b", ""],
    ]);
    expect(dataBytes).toBe(16);
  });

  it("reads an empty header", () => {
    expect(parse("{}").tensors.size).toBe(0);
  });

  it("carries dtypes that it cannot decode", () => {
    const { tensors } = parse(
      '{"a":{"dtype":"F4","shape":[2,3],"data_offsets":[0,3]},"b":{"dtype":"F6_E2M3","shape":[4],"data_offsets":[3,6]}}',
    );
    expect([...tensors.values()].map(({ bytes }) => bytes)).toEqual([3, 3]);
  });

  it.each(["__proto__", "constructor", "toString", "", "é\\n\\u0000"])("takes %j as the name of a tensor", (name) => {
    const { tensors } = parse(`{"${name}":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}`);
    expect([...tensors.keys()]).toEqual([JSON.parse(`"${name}"`)]);
    expect(({} as Record<string, unknown>).dtype).toBeUndefined();
  });

  it.each([
    ["an array", "SAFETENSORS_HEADER", "[]"],
    ["a string", "SAFETENSORS_HEADER", '"{}"'],
    ["nothing", "JSON_SYNTAX", ""],
    ["spaces", "JSON_SYNTAX", "    "],
    ["NUL padding", "JSON_SYNTAX", "{}\u0000\u0000"],
    ["a second value", "JSON_SYNTAX", "{}{}"],
    ["a trailing comma", "JSON_SYNTAX", '{"__metadata__":{},}'],
    ["deep nesting", "SAFETENSORS_HEADER", `{"a":${"[".repeat(100_000)}`],
    ["deep nesting in a shape", "SAFETENSORS_HEADER", f32("[".repeat(100_000), "[0,4]")],
    ["a duplicate tensor", "JSON_DUPLICATE_KEY", '{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"a":{}}'],
    ["a duplicate inner key", "JSON_DUPLICATE_KEY", one('"dtype":"F32","dtype":"F32","shape":[],"data_offsets":[0,4]')],
    ["duplicate metadata", "JSON_DUPLICATE_KEY", '{"__metadata__":{},"__metadata__":{}}'],
    ["metadata that is a list", "SAFETENSORS_HEADER", '{"__metadata__":[]}'],
    ["metadata that is null", "SAFETENSORS_HEADER", '{"__metadata__":null}'],
    ["metadata with a number", "SAFETENSORS_HEADER", '{"__metadata__":{"a":1}}'],
    ["metadata with an object", "SAFETENSORS_HEADER", '{"__metadata__":{"a":{}}}'],
    ["a tensor that is a number", "SAFETENSORS_HEADER", '{"a":1}'],
    ["an unknown inner key", "SAFETENSORS_HEADER", one('"dtype":"F32","shape":[],"data_offsets":[0,4],"more":1')],
    ["a missing dtype", "SAFETENSORS_HEADER", one('"shape":[],"data_offsets":[0,4]')],
    ["a missing shape", "SAFETENSORS_HEADER", one('"dtype":"F32","data_offsets":[0,4]')],
    ["missing offsets", "SAFETENSORS_HEADER", one('"dtype":"F32","shape":[]')],
    ["one offset", "SAFETENSORS_HEADER", f32("[]", "[0]")],
    ["three offsets", "SAFETENSORS_HEADER", f32("[]", "[0,4,8]")],
    ["an unknown dtype", "SAFETENSORS_DTYPE", one('"dtype":"F128","shape":[],"data_offsets":[0,16]')],
    ["a dtype from the prototype", "SAFETENSORS_DTYPE", one('"dtype":"constructor","shape":[],"data_offsets":[0,4]')],
    ["a dtype that is a number", "SAFETENSORS_DTYPE", one('"dtype":32,"shape":[],"data_offsets":[0,4]')],
    ["a negative offset", "SAFETENSORS_HEADER", f32("[]", "[-4,0]")],
    ["an offset of minus zero", "SAFETENSORS_HEADER", f32("[]", "[-0,4]")],
    ["a float offset", "SAFETENSORS_HEADER", f32("[]", "[0,4.0]")],
    ["an exponent", "SAFETENSORS_HEADER", f32("[]", "[0,4e0]")],
    ["an infinite offset", "SAFETENSORS_HEADER", f32("[]", "[0,1e400]")],
    ["an offset of 2^53 + 1", "SAFETENSORS_HEADER", f32("[]", "[0,9007199254740993]")],
    ["an offset of 2^64", "SAFETENSORS_HEADER", f32("[]", "[0,18446744073709551616]")],
    ["an offset that is text", "SAFETENSORS_HEADER", f32("[]", '["0","4"]')],
    ["a shape with null", "SAFETENSORS_HEADER", f32("[null]", "[0,4]")],
    ["a shape of 65 axes", "SAFETENSORS_HEADER", f32(`[${Array(65).fill(1)}]`, "[0,4]")],
    ["offsets the wrong way round", "SAFETENSORS_OFFSETS", f32("[1]", "[4,0]")],
    ["a size that is not the shape's", "SAFETENSORS_OFFSETS", f32("[2]", "[0,4]")],
    ["a first tensor behind a hole", "SAFETENSORS_OFFSETS", f32("[1]", "[4,8]")],
    [
      "a hole",
      "SAFETENSORS_OFFSETS",
      '{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"b":{"dtype":"U8","shape":[1],"data_offsets":[2,3]}}',
    ],
    [
      "an overlap",
      "SAFETENSORS_OFFSETS",
      '{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}}',
    ],
    [
      "the same data twice",
      "SAFETENSORS_OFFSETS",
      '{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}',
    ],
    [
      "a zero-size tensor inside another",
      "SAFETENSORS_OFFSETS",
      '{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[0],"data_offsets":[1,1]}}',
    ],
    ["a shape that overflows", "SAFETENSORS_SHAPE", f32("[4294967296,4294967296,4294967296]", "[0,0]")],
    ["a shape that overflows before a zero", "SAFETENSORS_SHAPE", f32("[4294967296,4294967296,0]", "[0,0]")],
    ["a shape whose bytes overflow", "SAFETENSORS_SHAPE", f32("[9007199254740991]", "[0,9007199254740991]")],
    ["an odd number of F4", "SAFETENSORS_SHAPE", one('"dtype":"F4","shape":[3],"data_offsets":[0,1]')],
    ["F6 that do not fill bytes", "SAFETENSORS_SHAPE", one('"dtype":"F6_E3M2","shape":[2],"data_offsets":[0,1]')],
  ])("refuses %s with %s", async (_, code, text) => {
    const error = await expectCode(code, () => parse(text));
    expect(error.where).toContain("x.safetensors");
    expect(error.message.length).toBeLessThan(1500);
  });

  it("refuses bytes that are not UTF-8", async () => {
    await expectCode("JSON_ENCODING", () => parseSafetensorsHeader(Uint8Array.of(0x7b, 0xff, 0x7d), "x"));
  });

  it("refuses a file of more tensors than it keeps", async () => {
    const tensors = Array.from({ length: 500_001 }, (_, i) => `"${i}":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}`);
    await expectCode("SAFETENSORS_HEADER", () => parse(`{${tensors.join()}}`));
  });

  it("gives a header or a ReamError for any text", () => {
    const pieces = fc.constantFrom(
      ..."{}[],:",
      '"a"',
      '"dtype"',
      '"F32"',
      '"shape"',
      '"data_offsets"',
      '"__metadata__"',
      "0",
      "4",
      "-1",
      "1e9",
    );
    fc.assert(
      fc.property(fc.array(pieces, { maxLength: 40 }), (parts) => {
        try {
          parse(`{"a":${parts.join("")}`);
        } catch (error) {
          expect(error).toBeInstanceOf(ReamError);
        }
      }),
      { numRuns: 5000 },
    );
  });
});
