import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { packedSequences, paddedSequences } from "../../src/calibration/packing.js";

const around = { prefix: [], suffix: [], endOfText: 0, pad: 9 };
const rows = (packer: { sequences: readonly { ids: Int32Array }[] }) => packer.sequences.map(({ ids }) => [...ids]);

describe("packed", () => {
  test("joins documents by the end-of-text token and cuts", () => {
    const packer = packedSequences(around, 4);
    packer.add([1, 2, 3], false);
    packer.add([4, 5], false);
    packer.add([6, 7], false);
    expect(rows(packer)).toEqual([
      [1, 2, 3, 0],
      [4, 5, 0, 6],
    ]);
  });

  test("uses what the tokenizer puts around a text, but not around a rendered conversation", () => {
    const packer = packedSequences({ ...around, prefix: [7], suffix: [8] }, 4);
    packer.add([1, 2], false);
    packer.add([7, 3, 4], true);
    expect(rows(packer)).toEqual([
      [7, 1, 2, 8],
      [7, 3, 4, 0],
    ]);
  });

  test("an end-of-text token is not doubled, and without one documents touch", () => {
    const ended = packedSequences(around, 3);
    for (const ids of [
      [1, 0],
      [2, 0],
      [3, 3],
    ])
      ended.add(ids, false);
    expect(rows(ended)).toEqual([
      [1, 0, 2],
      [0, 3, 3],
    ]);
    const none = packedSequences({ ...around, endOfText: undefined }, 2);
    none.add([1], false);
    none.add([2], false);
    expect(rows(none)).toEqual([[1, 2]]);
  });

  test("loses no token but those of the last unfilled sequence", () => {
    const documents = fc.array(fc.array(fc.integer({ min: 1, max: 8 }), { minLength: 1, maxLength: 30 }), {
      maxLength: 30,
    });
    fc.assert(
      fc.property(documents, fc.integer({ min: 1, max: 16 }), (all, length) => {
        const packer = packedSequences(around, length);
        for (const ids of all) packer.add(ids, false);
        const stream = all.flatMap((ids) => [...ids, 0]);
        expect(rows(packer).flat()).toEqual(stream.slice(0, stream.length - (stream.length % length)));
      }),
    );
  });
});

describe("padded", () => {
  test("cuts long documents and pads others on the right", () => {
    const packer = paddedSequences(around, 4, 0.5, 3);
    packer.add([1, 2, 3, 4, 5], false);
    packer.add([1, 2, 3], false);
    expect(rows(packer)).toEqual([
      [1, 2, 3, 4],
      [1, 2, 3, 9],
    ]);
    expect(packer.sequences.map(({ tokens }) => tokens)).toEqual([4, 3]);
  });

  test("keeps what the tokenizer puts around a text when it cuts", () => {
    const packer = paddedSequences({ ...around, prefix: [7], suffix: [8] }, 4, 0, 1);
    packer.add([1, 2, 3, 4, 5], false);
    packer.add([1, 2, 3, 4, 5], true);
    expect(rows(packer)).toEqual([
      [7, 1, 2, 8],
      [1, 2, 3, 4],
    ]);
  });

  test("short documents wait, the longest first, and only as many as are wanted", () => {
    const packer = paddedSequences(around, 10, 0.9, 3);
    for (let round = 0; round < 50; round++) packer.add([1, 2], false);
    packer.add([5, 5, 5], false);
    packer.add([6, 6, 6, 6], false);
    expect(packer.sequences).toHaveLength(0);
    packer.add(
      Array.from({ length: 10 }, () => 4),
      false,
    );
    expect(packer.sequences).toHaveLength(1);
    expect(packer.finish()).toBe(2);
    expect(packer.sequences.map(({ tokens }) => tokens)).toEqual([10, 4, 3]);
  });
});
