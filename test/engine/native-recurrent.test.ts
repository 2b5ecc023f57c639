import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Backend, LinearAttentionShape } from "../../src/engine/backend.js";
import { Random } from "../../src/random.js";
import { cases, expectClose, expectSame, normals, withThreads } from "./native-cases.js";
import { type RecurrentCase, recurrentCases } from "./recurrent-cases.js";

const ROUNDING = 4e-6;

/** Outputs of all tokens in one call, and the state they leave. */
function whole(backend: Backend, operation: RecurrentCase, tokens: number, before: Float32Array) {
  const state = before.slice();
  return { out: operation.run(backend, [{ from: 0, to: tokens, state }]), state };
}

describe.each(cases)("$variant $precision", ({ variant, precision, native, reference }) => {
  describe.each(recurrentCases)("%s", (_, make) => {
    test("as the reference, from zeros and from a state", () => {
      for (const tokens of [1, 2, 50]) {
        const random = new Random(tokens);
        const operation = make(random, tokens);
        for (const before of [new Float32Array(operation.stateSize), normals(random, operation.stateSize)]) {
          const [actual, expected] = [native, reference].map((backend) => whole(backend, operation, tokens, before));
          expectClose(actual!.out, expected!.out, ROUNDING);
          expectClose(actual!.state, expected!.state, ROUNDING);
        }
        const [actual, expected] = [native, reference].map((backend) => {
          return operation.run(backend, [{ from: 0, to: tokens, state: undefined }]);
        });
        expectClose(actual!, expected!, ROUNDING);
        expectSame(actual!, whole(native, operation, tokens, new Float32Array(operation.stateSize)).out);
      }
    });

    test("any cuts, beside any others, with any number of threads, give the same bytes", () => {
      const backends = withThreads(variant, precision, [1, 3]);
      const plan = fc.record({
        seed: fc.nat(),
        pieces: fc.array(fc.array(fc.nat(9), { maxLength: 4 }), { minLength: 1, maxLength: 3 }),
      });
      fc.assert(
        fc.property(plan, ({ seed, pieces }) => {
          const random = new Random(seed);
          const lengths = pieces.map((sizes) => sizes.reduce((sum, size) => sum + size, 0));
          const operation = make(random, Math.max(1, ...lengths));
          const before = normals(random, operation.stateSize);
          const wanted = lengths.map((length) => whole(backends[0]!, operation, length, before));
          // All sequences advance together, some calls without new tokens of some.
          const states = lengths.map(() => before.slice());
          const done = lengths.map(() => 0);
          for (let call = 0; call < 4; call++) {
            const ranges = pieces.map((sizes, i) => {
              const from = done[i]!;
              done[i] = from + (sizes[call] ?? 0);
              return { from, to: done[i]!, state: states[i] };
            });
            const out = operation.run(backends[1]!, ranges);
            let at = 0;
            for (const [i, { from, to }] of ranges.entries()) {
              const [start, end] = [from * operation.row, to * operation.row];
              expectSame(out.subarray(at, at + end - start), wanted[i]!.out.subarray(start, end));
              at += end - start;
            }
            expect(at).toBe(out.length);
          }
          for (const [i, state] of states.entries()) expectSame(state, wanted[i]!.state);
        }),
        { numRuns: 15 },
      );
    });

    test("states may be parts of one array, and nothing around them is written", () => {
      const operation = make(new Random(7), 6);
      const size = operation.stateSize;
      const room = new Float32Array(2 * size + 3).fill(0.5);
      const states = [1, size + 2].map((start) => room.subarray(start, start + size));
      const out = operation.run(native, [
        { from: 0, to: 4, state: states[1] },
        { from: 0, to: 4, state: undefined },
        { from: 4, to: 6, state: states[0] },
      ]);
      const alone = operation.run(native, [{ from: 0, to: 4, state: undefined }]);
      expectSame(out.subarray(4 * operation.row, 8 * operation.row), alone);
      expect([room[0], room[size + 1], room[2 * size + 2]]).toEqual([0.5, 0.5, 0.5]);
      const half = new Float32Array(size).fill(0.5);
      expectSame(states[1]!, whole(native, operation, 4, half).state);
    });
  });

  test("no segments, no tokens", () => {
    for (const [, make] of recurrentCases) {
      const operation = make(new Random(8), 1);
      const state = normals(new Random(9), operation.stateSize);
      const kept = state.slice();
      expect(operation.run(native, [])).toEqual(new Float32Array(0));
      expect(operation.run(native, [{ from: 1, to: 1, state }])).toEqual(new Float32Array(0));
      expectSame(state, kept);
    }
  });
});

describe.each(cases.slice(0, 1).flatMap(({ native, reference }) => [native, reference]))("$name", (backend) => {
  const zeros = (length: number) => new Float32Array(length);
  const none = (tokens: number) => [{ tokens, state: undefined }];

  test("what does not fit a convolution is a range error", () => {
    const [x, weight] = [zeros(12), zeros(8)];
    const run = (...[first, second, bias, kernel, segments]: unknown[]) => {
      return backend.convolution(
        (first ?? x) as Float32Array,
        (second ?? weight) as Float32Array,
        bias as Float32Array | undefined,
        (kernel ?? 2) as number,
        "none",
        (segments ?? none(3)) as ReturnType<typeof none>,
      );
    };
    expect(run()).toEqual(zeros(12));
    const state = zeros(8);
    const refused: unknown[][] = [
      [zeros(13)],
      [undefined, zeros(7)],
      [undefined, undefined, zeros(3)],
      [undefined, undefined, undefined, 0],
      [undefined, undefined, undefined, -1],
      [undefined, undefined, undefined, 1.5],
      [undefined, undefined, undefined, 2, none(2)],
      [undefined, undefined, undefined, 2, none(4)],
      [undefined, undefined, undefined, 2, none(-3)],
      [undefined, undefined, undefined, 2, none(2.5)],
      [undefined, undefined, undefined, 2, []],
      [undefined, undefined, undefined, 2, [{ tokens: 3, state: zeros(5) }]],
      [undefined, undefined, undefined, 2, [1, 2].map((tokens) => ({ tokens, state: state.subarray(0, 4) }))],
      [undefined, undefined, undefined, 2, [1, 2].map((n) => ({ tokens: n, state: state.subarray(n, n + 4) }))],
    ];
    for (const call of refused) expect(() => run(...call), JSON.stringify(call)).toThrow(RangeError);
  });

  test("what does not fit the delta rule is a range error, and no state is written", () => {
    const shape = { keyHeads: 1, valueHeads: 2, keySize: 3, valueSize: 4 };
    const state = zeros(24).fill(1);
    const good = { qkv: zeros(2 * 14).fill(1), logDecay: zeros(4), beta: zeros(4).fill(1), shape };
    const segments = [{ tokens: 2, state }];
    const run = (
      changes: Partial<typeof good>,
      given: readonly { tokens: number; state?: Float32Array }[] = segments,
    ) => {
      const { qkv, logDecay, beta, shape } = { ...good, ...changes };
      const all = given.map(({ tokens, state }) => ({ tokens, state }));
      return () => backend.deltaRule(qkv, logDecay, beta, shape, all);
    };
    const refused = [
      run({ qkv: zeros(27) }),
      run({ qkv: zeros(42) }),
      run({ logDecay: zeros(6) }),
      run({ beta: zeros(2) }),
      run({ logDecay: zeros(12), beta: zeros(12) }),
      run({ shape: { ...shape, keyHeads: 0 } }),
      run({ shape: { ...shape, keyHeads: 2, valueHeads: 3 } }),
      run({ shape: { ...shape, valueHeads: 0 } }),
      run({ shape: { ...shape, keySize: 0 } }),
      run({ shape: { ...shape, valueSize: -4 } }),
      run({ shape: { ...shape, valueSize: 4.5 } }),
      run({}, [{ tokens: 1, state }]),
      run({}, [{ tokens: 2, state: zeros(23) }]),
      run({}, [
        { tokens: 1, state },
        { tokens: 1, state },
      ]),
      run({}, [
        { tokens: 2, state },
        { tokens: 0, state },
      ]),
    ];
    for (const call of refused) expect(call).toThrow(RangeError);
    expect(state).toEqual(zeros(24).fill(1));
    expect(run({})()).not.toEqual(zeros(16));
    expect(run({ logDecay: zeros(12) })).not.toThrow();
  });

  test("what does not fit linear attention is a range error", () => {
    const shape: LinearAttentionShape = { heads: 2, keySize: 3, valueSize: 1 };
    const run = (qkv: Float32Array, logDecay: Float32Array, changed = shape, segments = none(2)) => {
      return () => backend.linearAttention(qkv, logDecay, changed, segments);
    };
    expect(run(zeros(28), zeros(2))()).toEqual(zeros(4));
    expect(run(zeros(28), zeros(4))()).toEqual(zeros(4));
    const refused = [
      run(zeros(27), zeros(2)),
      run(zeros(28), zeros(3)),
      run(zeros(28), zeros(2), { ...shape, heads: 0 }),
      run(zeros(28), zeros(2), { ...shape, keyHeads: 3 }),
      run(zeros(28), zeros(2), { ...shape, keyHeads: 0 }),
      run(zeros(28), zeros(2), { ...shape, keySize: 4 }),
      run(zeros(28), zeros(2), { ...shape, valueSize: 0 }),
      run(zeros(28), zeros(2), shape, none(1)),
      run(zeros(28), zeros(2), shape, [{ tokens: 2, state: zeros(5) }] as unknown as ReturnType<typeof none>),
    ];
    for (const call of refused) expect(call).toThrow(RangeError);
  });
});

test("arrays that share memory with what is written are refused by the library", () => {
  const { native } = cases[0]!;
  const memory = new Float32Array(40);
  const x = memory.subarray(0, 12);
  const state = memory.subarray(11, 15);
  expect(() => native.convolution(x, new Float32Array(8), undefined, 2, "none", [{ tokens: 3, state }])).toThrow(
    RangeError,
  );
});
