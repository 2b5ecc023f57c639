import { expect, test } from "vitest";
import type { Operation } from "../../src/doctor/checks/check.js";
import { CHECKS, compare, selfTest } from "../../src/doctor/self-test.js";
import type { Backend } from "../../src/engine/backend.js";
import { createNativeBackend, nativeVariants } from "../../src/engine/native/native-backend.js";
import { createReferenceBackend } from "../../src/engine/reference/reference-backend.js";

const reference = createReferenceBackend("f32");
const operations = Object.entries(reference).filter(([, value]) => typeof value === "function");

test("every operation of a backend is checked", () => {
  const checked = new Set(CHECKS.flatMap((check) => check.operations));
  expect([...checked].sort()).toEqual(operations.map(([name]) => name).sort());
});

test("every kernel of this machine is right, with each instruction set and precision", async () => {
  const results = await selfTest();
  expect(results.filter(({ right }) => !right)).toEqual([]);
  expect(results.length).toBe(CHECKS.length * nativeVariants().length * 2);
});

/** Adds a little to the largest number of what an operation returns, or, where it returns none, writes to. */
function disturbed(backend: Backend, operation: Operation): Backend {
  const original = backend[operation] as (...args: unknown[]) => unknown;
  const disturb = (value: unknown): boolean => {
    if (!ArrayBuffer.isView(value)) return false;
    const numbers = value as Float32Array;
    const at = numbers.reduce((best, number, i) => (Math.abs(number) > Math.abs(numbers[best]!) ? i : best), 0);
    numbers[at] = value instanceof Float32Array || value instanceof Float64Array ? 1.05 * numbers[at]! : 0;
    return true;
  };
  const wrong = (...args: unknown[]) => {
    const result = original(...args);
    if (typeof result === "number") return result * 1.05;
    if (result === undefined) {
      args.find(disturb);
      return result;
    }
    if (!disturb(result)) Object.values(result as object).some(disturb);
    return result;
  };
  return { ...backend, description: "", keptBytes: 0, [operation]: wrong };
}

/** Those that make what others use return no numbers. */
const makers = new Set(["matrix", "experts", "keyValueCache", "factorGram", "sparsegpt", "gptq"]);

test.each(operations.map(([name]) => name as Operation).filter((name) => !makers.has(name)))(
  "a wrong %s is found",
  (operation) => {
    const native = createNativeBackend({ precision: "f32", threads: 1 });
    const checks = CHECKS.filter((check) => check.operations.includes(operation));
    const results = checks.map((check) => compare(check, disturbed(native, operation), check.run(reference)));
    expect(results.every(({ right }) => !right)).toBe(true);
  },
);

test("a kernel that throws, and one that makes no number, are wrong", () => {
  const check = CHECKS.find((each) => each.operations.includes("product"))!;
  const expected = check.run(reference);
  const throwing = {
    ...reference,
    product: () => {
      throw new Error("no such instruction");
    },
  };
  expect(compare(check, throwing, expected)).toMatchObject({ right: false, failure: "Error: no such instruction" });
  const spoiled: Backend = { ...reference, product: (a, b, k) => reference.product(a, b, k).fill(Number.NaN, 3, 4) };
  expect(compare(check, spoiled, expected)).toMatchObject({ right: false, difference: Infinity });
});
