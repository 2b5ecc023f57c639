import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { decodeUtf8, parseJson } from "../../src/checkpoint/json.js";
import { ReamError } from "../../src/errors.js";
import { expectCode } from "./support.js";

const parse = (text: string) => parseJson(text, "file");

/** With the prototypes that JSON.parse gives. */
const plain = (value: unknown) => structuredClone(value);

function attempt(action: () => unknown): { value: unknown } | { error: unknown } {
  try {
    return { value: action() };
  } catch (error) {
    return { error };
  }
}

describe("parseJson", () => {
  it("reads what JSON.parse reads", () => {
    fc.assert(
      fc.property(fc.json({ maxDepth: 8 }), fc.constantFrom(undefined, 1, "\t"), (text, indent) => {
        const spaced = JSON.stringify(JSON.parse(text), null, indent);
        expect(plain(parse(spaced))).toEqual(JSON.parse(spaced));
      }),
    );
  });

  it("refuses what JSON.parse refuses, and else agrees or names a stricter rule", () => {
    const characters = fc.constantFrom(...'[]{},:"\\ \n0123456789-+.eEtrufalsn\u00e9\u0007');
    fc.assert(
      fc.property(fc.string({ unit: characters, maxLength: 30 }), (text) => {
        const expected = attempt(() => JSON.parse(text));
        const found = attempt(() => plain(parse(text)));
        if (!("error" in found)) {
          expect(found).toEqual(expected);
          return;
        }
        expect(found.error).toBeInstanceOf(ReamError);
        const { code } = found.error as ReamError;
        // Only these two are stricter than JSON.parse.
        const stricter = code === "JSON_DUPLICATE_KEY" || (code === "JSON_SYNTAX" && text.includes("\\u"));
        if (!stricter) expect(expected).toHaveProperty("error");
      }),
      { numRuns: 20_000 },
    );
  });

  it.each([
    ["", "line 1 column 1"],
    ["{", "line 1 column 2"],
    ["[1,]", "line 1 column 4"],
    ['{"a":1,}', "line 1 column 8"],
    ['{"a" 1}', "line 1 column 6"],
    ["{a:1}", "line 1 column 2"],
    ["[1 2]", "line 1 column 4"],
    ["[1}", "line 1 column 3"],
    ['\n {"a":01}', "line 2 column 8"],
    ["1.", "line 1 column 1"],
    ["-", "line 1 column 1"],
    ["1e+", "line 1 column 1"],
    [".5", "line 1 column 1"],
    ["+1", "line 1 column 1"],
    ["tru", "line 1 column 1"],
    ["NaN", "line 1 column 1"],
    ["{} {}", "line 1 column 4"],
    ["1\u0000", "line 1 column 2"],
    ['"\u0001"', "line 1 column 2"],
    ['"\\x"', "line 1 column 2"],
    ['"\\u12g4"', "line 1 column 2"],
    ['"\\u12', "line 1 column 1"],
    ['"\\ud800"', "line 1 column 1"],
    ['"open', "line 1 column 1"],
    ["\ufeff{}", "line 1 column 1"],
  ])("refuses %j at %s", async (text, position) => {
    const { where } = await expectCode("JSON_SYNTAX", () => parse(text));
    expect(where).toBe(`file, ${position}`);
  });

  it("refuses duplicate keys, however they are escaped", async () => {
    await expectCode("JSON_DUPLICATE_KEY", () => parse('{"a":1,"a":1}'));
    await expectCode("JSON_DUPLICATE_KEY", () => parse('{"a":1,"b":{"a":2},"\\u0061":1}'));
    expect(plain(parse('[{"a":1},{"a":{"a":2}}]'))).toEqual([{ a: 1 }, { a: { a: 2 } }]);
  });

  it("reads 64 levels and refuses the 65th", async () => {
    const nested = (levels: number) => "[".repeat(levels) + "]".repeat(levels);
    expect(JSON.stringify(parse(nested(64)))).toBe(nested(64));
    await expectCode("JSON_DEPTH", () => parse(nested(65)));
    await expectCode("JSON_DEPTH", () => parse("[".repeat(1_000_000)));
    await expectCode("JSON_DEPTH", () => parse('{"a":'.repeat(1_000_000)));
  });

  it("treats __proto__ and constructor as keys like any other", () => {
    const value = parse('{"__proto__":{"polluted":1},"constructor":2}') as Record<string, unknown>;
    expect(Object.keys(value)).toEqual(["__proto__", "constructor"]);
    expect(value.polluted).toBeUndefined();
    expect(({} as Record<string, unknown>).polluted).toBeUndefined();
  });

  it("accepts Python's NaN and Infinity where asked to", () => {
    expect(parseJson("[NaN,Infinity,-Infinity,-1]", "file", { nonFinite: true })).toEqual([
      NaN,
      Infinity,
      -Infinity,
      -1,
    ]);
    expect(() => parseJson("[-Infinit]", "file", { nonFinite: true })).toThrow(ReamError);
  });
});

describe("decodeUtf8", () => {
  it("reads UTF-8 and refuses everything else", async () => {
    expect(decodeUtf8(Buffer.from("é→😀"), "file")).toBe("é→😀");
    await expectCode("JSON_ENCODING", () => decodeUtf8(Uint8Array.of(0x22, 0xff, 0x22), "file"));
    await expectCode("JSON_ENCODING", () => decodeUtf8(Uint8Array.of(0xed, 0xa0, 0x80), "file"));
  });
});
