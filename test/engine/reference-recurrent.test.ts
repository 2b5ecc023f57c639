import { describe, expect, test } from "vitest";
import type { DeltaRuleShape } from "../../src/engine/backend.js";
import { createReferenceBackend } from "../../src/engine/reference/reference-backend.js";
import { Random } from "../../src/random.js";
import { expectClose, expectSame, normals } from "./native-cases.js";
import { deltaRuleCase, recurrentCases } from "./recurrent-cases.js";

const backend = createReferenceBackend("f32");

type Rows = readonly (readonly number[])[];

const transposed = (a: Rows): Rows => a[0]!.map((_, j) => a.map((row) => row[j]!));
const times = (a: Rows, b: Rows): Rows =>
  a.map((row) => transposed(b).map((column) => row.reduce((sum, value, i) => sum + value * column[i]!, 0)));

/**
 * Outputs of one head by the equation of the paper, in dense matrices: S = S α (I - β k kᵀ) + β v kᵀ, o = S q, with S
 * `[valueSize, keySize]`. With a gate of each channel, α is the diagonal matrix of them (Kimi Linear).
 */
function byMatrices(q: Rows, k: Rows, v: Rows, alpha: Rows, beta: readonly number[]): number[] {
  const size = k[0]!.length;
  let state: Rows = v[0]!.map(() => Array<number>(size).fill(0));
  return q.flatMap((query, t) => {
    const key = k[t]!;
    const correction = key.map((a, i) => key.map((b, j) => Number(i === j) - beta[t]! * a * b));
    const decayed = state.map((row) => row.map((value, i) => value * alpha[t]![i]!));
    const kept = times(decayed, correction);
    state = kept.map((row, j) => row.map((value, i) => value + beta[t]! * v[t]![j]! * key[i]!));
    return times(state, transposed([query])).flat();
  });
}

describe.each<[string, DeltaRuleShape]>([
  ["one head", { keyHeads: 1, valueHeads: 1, keySize: 4, valueSize: 3 }],
  ["shared keys", { keyHeads: 2, valueHeads: 6, keySize: 5, valueSize: 7 }],
])("delta rule, %s", (_, shape) => {
  test.each(["scalar", "channel"] as const)("by the equation of the paper, gate %s", (gate) => {
    const { keyHeads, valueHeads, keySize, valueSize } = shape;
    const tokens = 9;
    const { qkv, logDecay, beta, run } = deltaRuleCase(new Random(1), tokens, shape, gate);
    const out = run(backend, [{ from: 0, to: tokens, state: undefined }]);
    const each = <T>(make: (t: number) => T) => Array.from({ length: tokens }, (_, t) => make(t));
    const part = (t: number, start: number, size: number) => {
      const row = t * (qkv.length / tokens);
      return [...qkv.subarray(row + start, row + start + size)];
    };
    const unit = (x: number[]) => x.map((value) => value / Math.sqrt(x.reduce((sum, y) => sum + y * y, 1e-6)));
    for (let head = 0; head < valueHeads; head++) {
      const key = Math.floor((head * keyHeads) / valueHeads);
      const expected = byMatrices(
        each((t) => unit(part(t, key * keySize, keySize)).map((value) => value / Math.sqrt(keySize))),
        each((t) => unit(part(t, (keyHeads + key) * keySize, keySize))),
        each((t) => part(t, 2 * keyHeads * keySize + head * valueSize, valueSize)),
        each((t) =>
          Array.from({ length: keySize }, (_, i) => {
            const index = t * valueHeads + head;
            return Math.exp(logDecay[gate === "scalar" ? index : index * keySize + i]!);
          }),
        ),
        each((t) => beta[t * valueHeads + head]!),
      );
      const actual = each((t) => [...out.subarray((t * valueHeads + head) * valueSize).subarray(0, valueSize)]).flat();
      expectClose(Float64Array.from(actual), Float64Array.from(expected), 1e-6);
    }
  });
});

test("a key that comes again with beta 1 and without decay recalls its last value", () => {
  const qkv = Float32Array.of(/* q */ 3, 4, /* k */ 3, 4, /* v */ 5, 3, 4, 3, 4, -2);
  const shape = { keyHeads: 1, valueHeads: 1, keySize: 2, valueSize: 1 };
  const out = backend.deltaRule(qkv, new Float32Array(2), Float32Array.of(1, 1), shape, [
    { tokens: 2, state: undefined },
  ]);
  expectClose(
    out,
    Float32Array.of(5, -2).map((value) => value / Math.SQRT2),
    1e-6,
  );
});

test("linear attention is a sum over earlier tokens, decayed by their distance", () => {
  const random = new Random(2);
  const [tokens, heads, keySize, valueSize] = [8, 2, 3, 2];
  const row = heads * (2 * keySize + valueSize);
  const qkv = normals(random, tokens * row);
  const logDecay = Float32Array.of(-0.1, -0.7);
  const out = backend.linearAttention(qkv, logDecay, { heads, keySize, valueSize }, [{ tokens, state: undefined }]);
  const expected = new Float64Array(out.length);
  for (let t = 0; t < tokens; t++) {
    for (let head = 0; head < heads; head++) {
      for (let past = 0; past <= t; past++) {
        let weight = Math.exp((t - past) * logDecay[head]!);
        const [q, k] = [t * row + head * keySize, past * row + (heads + head) * keySize];
        let dot = 0;
        for (let i = 0; i < keySize; i++) dot += qkv[q + i]! * qkv[k + i]!;
        weight *= dot;
        for (let j = 0; j < valueSize; j++) {
          const value = qkv[past * row + 2 * heads * keySize + head * valueSize + j]!;
          expected[(t * heads + head) * valueSize + j]! += weight * value;
        }
      }
    }
  }
  expectClose(out, expected, 1e-6);
});

test("linear attention with decays of each token and shared keys", () => {
  const random = new Random(3);
  const [tokens, heads, keyHeads, keySize, valueSize] = [6, 4, 2, 3, 2];
  const row = 2 * keyHeads * keySize + heads * valueSize;
  const qkv = normals(random, tokens * row);
  const logDecay = normals(random, tokens * heads).map((value) => -(value ** 2));
  const shape = { heads, keyHeads, keySize, valueSize };
  const out = backend.linearAttention(qkv, logDecay, shape, [{ tokens, state: undefined }]);
  const expected = new Float64Array(out.length);
  for (let t = 0; t < tokens; t++) {
    for (let head = 0; head < heads; head++) {
      let decay = 0;
      for (let past = t; past >= 0; past--) {
        const part = Math.floor(head / 2) * keySize;
        let dot = 0;
        for (let i = 0; i < keySize; i++)
          dot += qkv[t * row + part + i]! * qkv[past * row + keyHeads * keySize + part + i]!;
        for (let j = 0; j < valueSize; j++) {
          const value = qkv[past * row + 2 * keyHeads * keySize + head * valueSize + j]!;
          expected[(t * heads + head) * valueSize + j]! += Math.exp(decay) * dot * value;
        }
        decay += logDecay[past * heads + head]!;
      }
    }
  }
  expectClose(out, expected, 1e-6);
});

test("convolution by hand", () => {
  // Two channels: the sum of three inputs plus 1, and the input of two tokens before.
  const weight = Float32Array.of(1, 1, 1, 1, 0, 0);
  const x = Float32Array.of(1, 10, 2, 20, 3, 30, 4, 40);
  const run = (segments: Parameters<typeof backend.convolution>[5]) =>
    backend.convolution(x, weight, Float32Array.of(1, 0), 3, "none", segments);
  expect([...run([{ tokens: 4, state: undefined }])]).toEqual([2, 0, 4, 0, 7, 10, 10, 20]);
  const states = [Float32Array.of(-1, -2, -3, -4), new Float32Array(4)];
  const cut = run([
    { tokens: 1, state: states[0] },
    { tokens: 3, state: states[1] },
  ]);
  expect([...cut]).toEqual([-2, -2, 3, 0, 6, 0, 10, 20]);
  expect(states.map((state) => [...state])).toEqual([
    [-3, -4, 1, 10],
    [3, 30, 4, 40],
  ]);
  const silu = backend.convolution(Float32Array.of(2), Float32Array.of(1), undefined, 1, "silu", [
    { tokens: 1, state: undefined },
  ]);
  expectClose(silu, Float32Array.of(2 / (1 + Math.exp(-2))), 1e-7);
});

test.each(recurrentCases)("%s: token by token and beside others as at once, bit by bit", (_, make) => {
  const tokens = 12;
  const random = new Random(3);
  const operation = make(random, tokens);
  const before = normals(random, operation.stateSize);
  const state = before.slice();
  const once = operation.run(backend, [{ from: 0, to: tokens, state }]);
  const [alone, beside] = [before.slice(), before.slice()];
  for (let t = 0; t < tokens; t++) {
    const out = operation.run(backend, [
      { from: 0, to: t, state: undefined },
      { from: t, to: t + 1, state: alone },
      { from: 3, to: 3, state: beside },
    ]);
    expectSame(out.subarray(t * operation.row), once.subarray(t * operation.row, (t + 1) * operation.row));
  }
  expectSame(alone, state);
  expectSame(beside, before);
});
