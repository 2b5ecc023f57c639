import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type DescentProblem, descend } from "../../../src/compress/reconstruct/descent.js";
import { type ExpertTokens, TokenPairs } from "../../../src/compress/reconstruct/token-pairs.js";
import type { Backend } from "../../../src/engine/backend.js";
import type { JoinedExperts } from "../../../src/engine/descent.js";
import { createNativeBackend } from "../../../src/engine/native/native-backend.js";
import { Random } from "../../../src/random.js";
import { BACKENDS, normals } from "../weights/matrices.js";

const pause = async () => undefined;
const [COUNT, TOP_K, HIDDEN, WIDTH, ROWS] = [4, 2, 12, 10, 400];

function routed(random: Random): ExpertTokens[][] {
  const chosen = Array.from({ length: ROWS }, () => [...random.permutation(COUNT).slice(0, TOP_K)]);
  return Array.from({ length: COUNT }, (_, expert) => {
    const rows = Int32Array.from(chosen.keys()).filter((row) => chosen[row]!.includes(expert));
    // In pieces of odd sizes, as those of chunks are.
    const pieces = Array.from({ length: Math.ceil(rows.length / 33) }, (_, i) => rows.slice(33 * i, 33 * (i + 1)));
    return pieces.map((rows) => ({ rows, factors: Float32Array.from(rows, () => 0.2 + random.next()) }));
  });
}

function experts(random: Random): JoinedExperts {
  const matrix = (scale: number) => normals(random, COUNT * WIDTH * HIDDEN).map((value) => scale * value);
  const matrices = { gate: matrix(0.3), up: matrix(0.3), down: matrix(0.3) };
  return { hidden: HIDDEN, width: WIDTH, activation: "silu", matrices };
}

/** What experts shall make: what others, not far from them, make. */
function problem(seed: number): DescentProblem {
  const random = new Random(seed);
  const pairs = new TokenPairs(ROWS, routed(random));
  const [start, x] = [experts(random), normals(random, ROWS * HIDDEN)];
  const near = (values: Float32Array) => values.map((value) => value + 0.1 * random.normal());
  const { gate, up, down } = start.matrices;
  const others = { ...start, matrices: { gate: near(gate!), up: near(up), down: near(down) } };
  return { experts: start, pairs, x, y: outputs(others, pairs, x) };
}

function outputs(own: JoinedExperts, pairs: TokenPairs, x: Float32Array): Float32Array {
  const backend = BACKENDS[0]![1];
  const y = new Float32Array(ROWS * HIDDEN);
  const { rows, offsets, tokens, factors } = pairs.batch(Int32Array.from({ length: ROWS }, (_, row) => row));
  const part = (values: Float32Array, expert: number, shape: [number, number]) => {
    const size = HIDDEN * WIDTH;
    const data = values.slice(expert * size, (expert + 1) * size);
    return { dtype: "F32" as const, shape, data: new Uint8Array(data.buffer) };
  };
  for (let expert = 0; expert < COUNT; expert++) {
    const { gate, up, down } = own.matrices;
    const shape: [number, number] = [WIDTH, HIDDEN];
    const tensors = { gate: part(gate!, expert, shape), up: part(up, expert, shape) };
    const ready = backend.experts([{ ...tensors, down: part(down, expert, [HIDDEN, WIDTH]) }], "silu");
    for (let pair = offsets[expert]!; pair < offsets[expert + 1]!; pair++) {
      const row = rows[tokens[pair]!]!;
      const input = x.slice(row * HIDDEN, (row + 1) * HIDDEN);
      const made = backend.expertDown(backend.expertActivation(input, ready, 0), ready, 0);
      for (let i = 0; i < HIDDEN; i++) y[row * HIDDEN + i]! += factors[pair]! * made[i]!;
    }
  }
  return y;
}

/** What is lost, as a share of the outputs. */
function lost(backend: Backend, { experts, pairs, x, y }: DescentProblem, matrices = experts.matrices): number {
  const batch = { x, y, ...pairs.batch(pairs.routedRows()) };
  const empty = (values: Float32Array) => new Float32Array(values.length);
  const out = { gate: empty(matrices.gate!), up: empty(matrices.up), down: empty(matrices.down) };
  return (
    backend.expertGradients({ ...experts, matrices }, batch, out) / y.reduce((sum, value) => sum + value * value, 0)
  );
}

describe.each(BACKENDS)("%s", (_, backend) => {
  test("experts come near to what others make", async () => {
    const given = problem(1);
    const before = given.experts.matrices.up.slice();
    const found = await descend(backend, given, { rate: 0.03, epochs: 60, seed: 3, pause });
    expect(lost(backend, given)).toBeGreaterThan(0.1);
    expect(lost(backend, given, found)).toBeLessThan(0.02);
    expect(given.experts.matrices.up).toEqual(before);
  });

  test("steps that are too large are told", async () => {
    expect(await descend(backend, problem(3), { rate: 50, epochs: 3, seed: 0, pause })).toBeUndefined();
  });
});

test("both backends, and any number of threads, find the same", async () => {
  const options = { rate: 0.03, epochs: 2, seed: 5, pause };
  const backends = [...BACKENDS.map(([, backend]) => backend), createNativeBackend({ precision: "f32", threads: 1 })];
  const [reference, two, one] = await Promise.all(backends.map((backend) => descend(backend, problem(4), options)));
  expect(one).toEqual(two);
  // Steps are as large where gradients are small: a rounded gradient may be another step.
  const difference = two!.up.reduce((most, value, i) => Math.max(most, Math.abs(value - reference!.up[i]!)), 0);
  expect(difference).toBeLessThan(1e-3);
});

test("batches list the pairs of their rows, expert by expert", () => {
  const row = fc.array(
    fc.record({ expert: fc.nat(4), factor: fc.float({ noNaN: true }), input: fc.float({ noNaN: true }) }),
    {
      maxLength: 3,
    },
  );
  fc.assert(
    fc.property(fc.array(row, { maxLength: 12 }), fc.boolean(), fc.nat(), (rows, scaled, seed) => {
      const listed = Array.from({ length: 5 }, (_, expert): ExpertTokens[] => {
        const own = rows.flatMap((pairs, row) =>
          pairs.filter((pair) => pair.expert === expert).map((pair) => ({ row, pair })),
        );
        const inputFactors = scaled ? Float32Array.from(own, ({ pair }) => pair.input) : undefined;
        const factors = Float32Array.from(own, ({ pair }) => pair.factor);
        return [{ rows: Int32Array.from(own, ({ row }) => row), factors, inputFactors }];
      });
      const pairs = new TokenPairs(rows.length, listed);
      expect(pairs.pairs).toBe(rows.flat().length);
      expect([...pairs.routedRows()]).toEqual([...rows.keys()].filter((row) => rows[row]!.length > 0));
      const drawn = new Random(seed).permutation(rows.length).slice(0, Math.ceil(rows.length / 2));
      const batch = pairs.batch(drawn);
      const expected = listed.map(([own]) =>
        [...drawn].flatMap((row, token) =>
          [...own!.rows.keys()]
            .filter((i) => own!.rows[i] === row)
            .map((i) => [token, own!.factors[i], own!.inputFactors?.[i]]),
        ),
      );
      const found = expected.map((_, expert) =>
        Array.from({ length: batch.offsets[expert + 1]! - batch.offsets[expert]! }, (_, i) => {
          const pair = batch.offsets[expert]! + i;
          return [batch.tokens[pair], batch.factors[pair], batch.inputFactors?.[pair]];
        }),
      );
      expect(found).toEqual(
        expected.map((own) =>
          own.map(([token, factor, input]) => [token, factor, rows.flat().length > 0 ? input : undefined]),
        ),
      );
    }),
  );
});
