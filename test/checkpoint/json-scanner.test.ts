import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type JsonEvent, JsonScanner, quote } from "../../src/checkpoint/json-scanner.js";
import { expectCode } from "./support.js";

function events(scanner: JsonScanner): [JsonEvent, unknown, boolean, number, number][] {
  const met: [JsonEvent, unknown, boolean, number, number][] = [];
  for (let event = scanner.next(); event !== "end" && event !== "more"; event = scanner.next()) {
    const scalar = event === "key" || event === "string" || event === "number" || event === "literal";
    met.push([
      event,
      scalar ? scanner.value : undefined,
      event === "number" && scanner.exact,
      scanner.start,
      scanner.end,
    ]);
  }
  return met;
}

describe("JsonScanner", () => {
  it("tells where values stand and which numbers are exact integers", () => {
    const text = '{"a": -12, "b": [1.0, 1e2, 9007199254740991, 9007199254740992, 1e400]}';
    const met = events(new JsonScanner(text, "file"));
    const numbers = met.filter(([event]) => event === "number");
    expect(numbers.map(([, , , start, end]) => text.slice(start, end))).toEqual([
      "-12",
      "1.0",
      "1e2",
      "9007199254740991",
      "9007199254740992",
      "1e400",
    ]);
    expect(numbers.map(([, value, exact]) => [value, exact])).toEqual([
      [-12, true],
      [1, false],
      [100, false],
      [Number.MAX_SAFE_INTEGER, true],
      [2 ** 53, false],
      [Infinity, false],
    ]);
  });

  it("meets the same events in chunks of any size as in the whole text", () => {
    fc.assert(
      fc.property(fc.json({ maxDepth: 4 }), fc.array(fc.nat(200)), (json, cuts) => {
        const text = JSON.stringify(
          { text: 'é\\"\n😀', value: JSON.parse(json), numbers: [-1.5e10, 0, true, null] },
          null,
          1,
        );
        const bounds = [0, ...cuts.filter((cut) => cut < text.length).sort((a, b) => a - b), text.length];
        const scanner = new JsonScanner("", "file", false);
        const met = bounds.slice(1).flatMap((end, i) => {
          scanner.feed(text.slice(bounds[i], end));
          return events(scanner);
        });
        scanner.feed("", true);
        met.push(...events(scanner));
        expect(scanner.event).toBe("end");
        expect(met).toEqual(events(new JsonScanner(text, "file")));
      }),
    );
  });

  it("does not wait for the end of an endless string", async () => {
    const scanner = new JsonScanner('{"', "file", false);
    await expectCode("JSON_LIMIT", () => {
      for (let i = 0; i < 100; i++) {
        scanner.feed("x".repeat(100_000));
        expect(events(scanner).length).toBeLessThanOrEqual(1);
      }
    });
  });

  it("reads numbers of a million digits in linear time", () => {
    const scanner = new JsonScanner(`[1${"0".repeat(1_000_000)}]`, "file");
    expect(events(scanner)[1]!.slice(0, 3)).toEqual(["number", Infinity, false]);
  });
});

describe("quote", () => {
  it("makes names short and printable", () => {
    expect(quote('a"\u001b')).toBe('"a\\"\\u001b"');
    expect(quote("x".repeat(10_000)).length).toBeLessThan(210);
  });
});
