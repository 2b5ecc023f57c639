import fc from "fast-check";
import { expect, test } from "vitest";
import { parseMemorySize, parsePart } from "../src/memory-size.js";

test.each([
  ["24GB", 24e9],
  ["24 gb", 24e9],
  ["80g", 80e9],
  ["16GiB", 16 * 2 ** 30],
  ["16Gi", 16 * 2 ** 30],
  ["0.5MiB", 2 ** 19],
  [".5kB", 500],
  ["1.5TB", 1.5e12],
  ["1000B", 1000],
])("%s", (text, bytes) => {
  expect(parseMemorySize(text, "--fit")).toBe(bytes);
});

test.each(["", "24", "GB", "-1GB", "0GB", "24GBx", "24 G B", "1e3GB", "24PB", "2.3.4GB", "0.1B", "99999999TB"])(
  "%j is no size",
  (text) => {
    expect(() => parseMemorySize(text, "--fit")).toThrowError(
      expect.objectContaining({ code: "OPTION_INVALID", where: "--fit" }),
    );
  },
);

test("whole bytes in every unit are read exactly", () => {
  const factors = { B: 1, kB: 1e3, MB: 1e6, GB: 1e9, KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30 };
  const units = fc.constantFrom(...Object.entries(factors));
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 4000 }), units, (count, [unit, factor]) => {
      expect(parseMemorySize(`${count}${unit}`, "")).toBe(count * factor);
    }),
  );
});

test("a part is a share or a size", () => {
  expect(parsePart("10%", 8e6, "")).toBe(8e5);
  expect(parsePart("2.5 %", 1000, "")).toBe(25);
  expect(parsePart("1GB", 8e6, "")).toBe(1e9);
  expect(parsePart("0", 8e6, "")).toBe(0);
  expect(parsePart("0%", 8e6, "")).toBe(0);
  for (const text of ["100%", "10", "%", "ten"])
    expect(() => parsePart(text, 1, "--allowance"), text).toThrowError(
      expect.objectContaining({ code: "OPTION_INVALID" }),
    );
});
