import { expect, test } from "vitest";
import type { Segment } from "../../src/engine/backend.js";
import type { ContinuedTokens } from "../../src/model/layer-state.js";
import { RecurrentState, recurrentMixer } from "../../src/model/mixers/recurrent-state.js";

/** A mixer that returns running sums of a sequence's tokens, which are what its state keeps. */
const runningSum = recurrentMixer((x, parts) => {
  const out = new Float32Array(x.length);
  let row = 0;
  for (const { tokens, arrays } of parts) {
    let sum = arrays === undefined ? 0 : arrays[0]![0]!;
    for (let t = 0; t < tokens; t++, row++) {
      sum += x[row]!;
      out[row] = sum;
    }
    if (arrays) arrays[0]![0] = sum;
  }
  return out;
});

function next(state: RecurrentState, rows: readonly number[], segments: readonly Segment[]): number[] {
  const tokens: ContinuedTokens = { segments, positions: new Int32Array(rows.length), tableLength: 1 };
  return [...runningSum.mixNext(Float32Array.from(rows), tokens, state)];
}

test("sequences go on where they were, and forgetting one starts it anew", () => {
  const state = new RecurrentState([1]);
  expect(
    next(
      state,
      [1, 2, 10],
      [
        { sequence: 1, tokens: 2 },
        { sequence: 2, tokens: 1 },
      ],
    ),
  ).toEqual([1, 3, 10]);
  expect(
    next(
      state,
      [20, 3],
      [
        { sequence: 2, tokens: 1 },
        { sequence: 1, tokens: 1 },
      ],
    ),
  ).toEqual([30, 6]);
  expect(state.bytes).toBe(8);
  state.forget(1);
  state.forget(7);
  expect(
    next(
      state,
      [5, 5],
      [
        { sequence: 1, tokens: 1 },
        { sequence: 2, tokens: 1 },
      ],
    ),
  ).toEqual([5, 35]);
});

test("a sequence branches off another's end, also in the call that appends to the other", () => {
  const prefix = { sequence: 9, length: 2 };
  const state = new RecurrentState([1]);
  const branches: Segment[] = [
    { sequence: 1, tokens: 2, prefix },
    { sequence: 9, tokens: 2 },
    { sequence: 2, tokens: 1, prefix },
  ];
  expect(next(state, [1, 1, 5, 6, 100], branches)).toEqual([12, 13, 5, 11, 111]);
  expect(
    next(
      state,
      [1, 1],
      [
        { sequence: 1, tokens: 1, prefix },
        { sequence: 2, tokens: 1, prefix },
      ],
    ),
  ).toEqual([14, 112]);
});

test("what a recurrent state cannot do is refused", () => {
  const state = new RecurrentState([1]);
  next(state, [1, 2, 3], [{ sequence: 9, tokens: 3 }]);
  const branch = (sequence: number, length: number) => () =>
    next(state, [1], [{ sequence: 1, tokens: 1, prefix: { sequence, length } }]);
  expect(branch(9, 2)).toThrow(RangeError);
  expect(branch(8, 1)).toThrow(RangeError);
  expect(branch(9, 3)()).toEqual([7]);
});

test("padding does not get into the memory", () => {
  const batch = { sequences: 2, length: 3, ids: new Int32Array(6), mask: Uint8Array.of(1, 1, 0, 1, 0, 0) };
  expect([...runningSum.mix(Float32Array.of(1, 2, 3, 4, 5, 6), batch)]).toEqual([1, 3, 3, 4, 4, 4]);
});
