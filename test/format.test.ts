import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { styleFor } from "../src/cli/style.js";
import { formatBytes, formatCount, formatDuration, formatShare, formatTable } from "../src/format.js";

test.each<[number, string]>([
  [0, "0 B"],
  [999, "999 B"],
  [1000, "1.00 kB"],
  [12_345, "12.3 kB"],
  [999_600, "1.00 MB"],
  [61_064_245_248, "61.1 GB"],
  [2.5e15, "2500 TB"],
])("%d bytes are %s", (bytes, text) => expect(formatBytes(bytes)).toBe(text));

test.each<[number, string]>([
  [0.04, "0.0 s"],
  [9.97, "10 s"],
  [59.7, "1 min 00 s"],
  [200, "3 min 20 s"],
  [3599.6, "1 h 00 min"],
  [7500, "2 h 05 min"],
])("%d seconds are %s", (seconds, text) => expect(formatDuration(seconds)).toBe(text));

test("durations and sizes never show a full unit of the next one", () => {
  fc.assert(
    fc.property(fc.double({ min: 0, max: 1e6, noNaN: true }), (value) => {
      expect(formatDuration(value)).not.toMatch(/\b60 (s|min)/);
      expect(formatBytes(value)).not.toMatch(/^1000 [kM]?B/);
    }),
  );
});

test("counts and shares", () => {
  expect(formatCount(1_572_864.2)).toBe("1,572,864");
  expect(formatShare(0.996)).toBe("99 %");
  expect(formatShare(1)).toBe("100 %");
});

test("tables line up: text to the left, numbers to the right", () => {
  expect(
    formatTable([
      ["model", "size"],
      ["a", "12.3 MB"],
      ["longer name", "1 B"],
    ]),
  ).toBe(["model           size", "a            12.3 MB", "longer name      1 B"].join("\n"));
});

describe("styles", () => {
  const bold = (isTTY: boolean, environment: Record<string, string>) =>
    styleFor({ isTTY } as NodeJS.WriteStream, environment).bold("x");

  test("only on terminals, unless NO_COLOR or FORCE_COLOR say otherwise", () => {
    expect(bold(true, {})).toBe("\u001b[1mx\u001b[0m");
    expect(bold(false, {})).toBe("x");
    expect(bold(true, { NO_COLOR: "1" })).toBe("x");
    expect(bold(true, { TERM: "dumb" })).toBe("x");
    expect(bold(false, { FORCE_COLOR: "1" })).toBe("\u001b[1mx\u001b[0m");
    expect(bold(true, { FORCE_COLOR: "0" })).toBe("x");
  });
});
