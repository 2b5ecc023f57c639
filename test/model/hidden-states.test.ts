import { existsSync, mkdtempSync, rmSync, truncateSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { type HiddenStates, StatesInFile, StatesInMemory } from "../../src/model/hidden-states.js";
import { Random } from "../../src/random.js";

const folder = mkdtempSync(join(tmpdir(), "ream-states-"));
afterAll(() => rmSync(folder, { recursive: true }));

const SIZE = 3;

describe("hidden states in a file", () => {
  test("are those in memory, to the bit, whatever is set and asked for", () => {
    const random = new Random(7);
    const lengths = [12, 3, 30, 0, 9];
    const path = join(folder, "states");
    const both: readonly HiddenStates[] = [
      new StatesInMemory(lengths.map(() => new Float32Array(0))),
      new StatesInFile(path, lengths),
    ];
    const first = lengths.map((length) => Float32Array.from({ length }, () => random.normal()));
    for (const states of both) for (const [batch, values] of first.entries()) states.set(batch, values);
    for (let step = 0; step < 300; step++) {
      const batch = random.below(lengths.length);
      if (random.below(2) === 0) {
        // A part of a larger array, of as many rows or fewer.
        const length = SIZE * random.below(lengths[batch]! / SIZE + 1);
        const values = Float32Array.from({ length: length + 5 }, () => random.normal()).subarray(5);
        if (length > 0) values[0] = Number.NaN;
        for (const states of both) states.set(batch, values);
      }
      const [one, two] = both.map((states) => states.get(batch)) as [Float32Array, Float32Array];
      expect(new Uint8Array(two.buffer, two.byteOffset, two.byteLength)).toEqual(
        new Uint8Array(one.buffer, one.byteOffset, one.byteLength).slice(),
      );
      const rows = Int32Array.from({ length: 4 }, () => random.below(one.length / SIZE));
      if (one.length > 0) expect(both[1]!.rows(batch, rows, SIZE)).toEqual(both[0]!.rows(batch, rows, SIZE));
      for (const states of both) expect([states.count, states.length(batch)]).toEqual([lengths.length, one.length]);
    }
    for (const states of both) states.close();
    expect(existsSync(path)).toBe(false);
  });

  test("are refused where there is no room for them, or no folder", () => {
    const states = new StatesInFile(join(folder, "small"), [3, 3]);
    expect(() => states.set(0, new Float32Array(4))).toThrow(RangeError);
    states.close();
    expect(() => new StatesInFile(join(folder, "none", "states"), [3])).toThrow(/ENOENT/);
  });

  test("that are gone are told", () => {
    const path = join(folder, "gone");
    const states = new StatesInFile(path, [6]);
    states.set(0, new Float32Array(6));
    truncateSync(path, 8);
    expect(() => states.get(0)).toThrow(/missing/);
    states.close();
  });
});
