import { describe, expect, test } from "vitest";
import type { Activation, AttentionShape, ExpertChoice, RotaryTable } from "../../src/engine/backend.js";
import { Random } from "../../src/random.js";
import { cases, expectClose, expectSame, normals, withThreads } from "./native-cases.js";

const ROUNDING = 2e-6;

describe.each(cases.filter(({ precision }) => precision === "f32"))("$variant", ({ variant, native, reference }) => {
  test("root mean square norm", () => {
    const random = new Random(1);
    for (const [tokens, size] of [
      [1, 1],
      [9, 37],
      [300, 128],
    ] as const) {
      const [x, weight] = [normals(random, tokens * size), normals(random, size)];
      expectClose(native.rmsNorm(x, weight, 1e-6), reference.rmsNorm(x, weight, 1e-6), 2e-7);
    }
    expectClose(native.rmsNorm(new Float32Array(4), Float32Array.of(1, 1), 1e-6), new Float32Array(4), 0);
  });

  test("norm by mean and variance", () => {
    const random = new Random(6);
    for (const [tokens, size] of [
      [1, 1],
      [9, 37],
      [300, 128],
    ] as const) {
      // A large mean: the variance must not be a difference of squares.
      const x = normals(random, tokens * size).map((value) => value + 100);
      const [weight, bias] = [normals(random, size), normals(random, size)];
      for (const added of [undefined, bias]) {
        expectClose(native.layerNorm(x, weight, added, 1e-6), reference.layerNorm(x, weight, added, 1e-6), 2e-7);
      }
    }
    for (const backend of [native, reference]) {
      const normed = backend.layerNorm(Float32Array.of(1, 3, 2, 2), Float32Array.of(2, 5), Float32Array.of(0, 10), 3);
      expect(normed).toEqual(Float32Array.of(-1, 12.5, 0, 10));
    }
  });

  test("rotation", () => {
    const random = new Random(2);
    for (const [heads, headSize, half, length] of [
      [3, 16, 8, 5],
      [1, 20, 3, 7],
      [2, 8, 0, 4],
    ] as const) {
      const x = normals(random, 2 * length * heads * headSize);
      const [cos, sin] = [normals(random, length * half), normals(random, length * half)];
      const [actual, expected] = [x.slice(), x.slice()];
      native.rotate(actual, heads, headSize, { length, cos, sin, pairing: "halves" });
      reference.rotate(expected, heads, headSize, { length, cos, sin, pairing: "halves" });
      expectClose(actual, expected, 2e-7);
    }
  });

  test("softmax", () => {
    const random = new Random(3);
    for (const columns of [1, 5, 128, 1000]) {
      const logits = normals(random, 7 * columns).map((value) => 20 * value);
      expectClose(native.softmax(logits, columns), reference.softmax(logits, columns), ROUNDING);
    }
    expect(native.softmax(Float32Array.of(1, -Infinity), 2)).toEqual(Float32Array.of(1, 0));
    expect(native.softmax(Float32Array.of(1, Number.NaN), 2)).toEqual(Float32Array.of(Number.NaN, Number.NaN));
    expect(native.softmax(Float32Array.of(1e30, 1e30), 2)).toEqual(Float32Array.of(0.5, 0.5));
  });

  test("experts are chosen and weighed as by the reference, to the bit", () => {
    const random = new Random(7);
    const [max, sumOfTwo] = ["max", "sum-of-two"] as const;
    const rules: [number, ExpertChoice][] = [
      [1, { topK: 1, normalise: true }],
      [5, { topK: 0, normalise: false }],
      [37, { topK: 37, normalise: true, floor: 1e9 }],
      [160, { topK: 6, groups: { count: 8, kept: 3, score: max }, normalise: false, scale: 16 }],
      [256, { topK: 8, groups: { count: 8, kept: 4, score: sumOfTwo }, normalise: true, epsilon: 1e-20, scale: 2.5 }],
    ];
    for (const [experts, rule] of rules) {
      // Of a few hundred numbers with one digit many are equal.
      const numbers = normals(random, 530 * experts).map((value) => Math.round(10 * value) / 10);
      const [scores, bias] = [normals(random, numbers.length).map(Math.abs), normals(random, experts)];
      numbers[0] = Number.NaN;
      for (const added of [undefined, bias]) {
        const expected = reference.chooseExperts(numbers, scores, added, experts, rule);
        expect(native.chooseExperts(numbers, scores, added, experts, rule)).toEqual(expected);
      }
    }
  });

  test("experts that are not there, and groups that do not fit, are refused", () => {
    const numbers = new Float32Array(12);
    const groups = { count: 3, kept: 2, score: "sum-of-two" } as const;
    const rule = { topK: 2, normalise: false };
    for (const backend of [native, reference]) {
      const choose =
        (experts: number, other: Partial<ExpertChoice>, scores = numbers, bias?: Float32Array) =>
        () =>
          backend.chooseExperts(numbers, scores, bias, experts, { ...rule, ...other });
      expect(choose(6, { groups })).not.toThrow();
      for (const wrong of [
        choose(5, {}),
        choose(6, { topK: 7 }),
        choose(4, { groups }),
        choose(3, { groups }),
        choose(6, { groups: { ...groups, kept: 4 } }),
        choose(6, { groups: { ...groups, kept: 0 } }),
        choose(6, {}, new Float32Array(6)),
        choose(6, {}, numbers, new Float32Array(5)),
      ]) {
        expect(wrong).toThrow(RangeError);
      }
    }
  });

  test("two arrays are combined as by the reference, to the bit", () => {
    const random = new Random(8);
    const [sums, terms] = [normals(random, 40_001), normals(random, 40_001)];
    for (const [factor, termsFactor] of [
      [1, 1],
      [0.3, 1.7],
      [0, -1],
    ] as const) {
      const [actual, expected] = [sums.slice(), sums.slice()];
      native.combine(actual, factor, terms, termsFactor);
      reference.combine(expected, factor, terms, termsFactor);
      expect(actual).toEqual(expected);
    }
    for (const backend of [native, reference]) {
      expect(() => backend.combine(sums, 1, terms.subarray(1), 1)).toThrow(RangeError);
    }
  });

  test.each<Activation>(["silu", "gelu", "gelu_tanh", "sigmoid", "relu"])("%s", (activation) => {
    const gate = Float32Array.from({ length: 4001 }, (_, i) => (i - 2000) / 100);
    const ones = new Float32Array(gate.length).fill(1);
    const [actual, expected] = [native.gated(gate, ones, activation), reference.gated(gate, ones, activation)];
    for (const [i, value] of expected.entries()) {
      // Near the root of the factor the value itself is tiny; below -6 only its size matters.
      expect(Math.abs(actual[i]! - value)).toBeLessThanOrEqual(4e-6 * Math.abs(value) + 1e-9);
    }
    const up = normals(new Random(4), gate.length);
    expectClose(native.gated(gate, up, activation), reference.gated(gate, up, activation), ROUNDING);
    expect(native.gated(Float32Array.of(Number.NaN), Float32Array.of(1), activation)[0]).toBeNaN();
  });

  test("unit whose gate is clamped after its function", () => {
    const random = new Random(8);
    for (const limit of [0.5, 0, Infinity]) {
      const activation: Activation = { kind: "clamped_silu", limit };
      const [gate, up] = [normals(random, 3001), normals(random, 3001)];
      expectClose(native.gated(gate, up, activation), reference.gated(gate, up, activation), ROUNDING);
    }
    for (const backend of [native, reference]) {
      const limited = backend.gated(Float32Array.of(9, 1, 9), Float32Array.of(1, -8, 50), {
        kind: "clamped_silu",
        limit: 2,
      });
      expectClose(limited, Float32Array.of(2, -2 / (1 + Math.exp(-1)), 4), 1e-6);
      const nan = backend.gated(Float32Array.of(Number.NaN, 1), Float32Array.of(1, Number.NaN), {
        kind: "clamped_silu",
        limit: 2,
      });
      expect(nan).toEqual(Float32Array.of(Number.NaN, Number.NaN));
      for (const limit of [-1, Number.NaN])
        expect(() => backend.gated(limited, limited, { kind: "clamped_silu", limit })).toThrow(RangeError);
    }
  });

  test("clamped gated unit", () => {
    const random = new Random(7);
    for (const activation of [
      { kind: "clamped_swiglu", alpha: 1.702, limit: 7 },
      { kind: "clamped_swiglu", alpha: -0.5, limit: 0 },
      { kind: "clamped_swiglu", alpha: 1, limit: Infinity },
    ] satisfies Activation[]) {
      const [gate, up] = [normals(random, 3001), normals(random, 3001)].map((values) => values.map((v) => 6 * v)) as [
        Float32Array,
        Float32Array,
      ];
      expectClose(native.gated(gate, up, activation), reference.gated(gate, up, activation), ROUNDING);
    }
    const activation: Activation = { kind: "clamped_swiglu", alpha: 1, limit: 2 };
    for (const backend of [native, reference]) {
      const beyond = backend.gated(Float32Array.of(9, 2, 1), Float32Array.of(-8, 50, 2), activation);
      const within = backend.gated(Float32Array.of(2, 2, 1), Float32Array.of(-2, 2, 2), activation);
      expect(beyond).toEqual(within);
      expect(within[2]).toBeCloseTo(3 / (1 + Math.exp(-1)), 6);
      const nan = backend.gated(Float32Array.of(Number.NaN, 1), Float32Array.of(1, Number.NaN), activation);
      expect(nan).toEqual(Float32Array.of(Number.NaN, Number.NaN));
      for (const changes of [{ limit: -1 }, { limit: Number.NaN }, { alpha: Number.NaN }, { alpha: Infinity }]) {
        const wrong = () => backend.gated(beyond, within, { ...activation, ...changes });
        expect(wrong).toThrow(RangeError);
      }
    }
  });

  const shapes: [string, Partial<AttentionShape>][] = [
    ["one token", { sequences: 1, length: 1 }],
    ["grouped heads", { sequences: 2, length: 70, heads: 6, keyValueHeads: 2 }],
    ["odd head size", { length: 130, headSize: 70 }],
    ["window", { length: 150, window: 20 }],
    ["window of one", { length: 100, window: 1 }],
    ["window beyond the start", { length: 80, window: 1000 }],
    ["long", { length: 400, headSize: 8 }],
  ];
  test.each(shapes)("attention: %s", (_, changes) => {
    const random = new Random(5);
    const shape: AttentionShape = {
      ...{ sequences: 1, length: 64, heads: 2, keyValueHeads: 1, headSize: 16, scale: 0.5 },
      ...changes,
    };
    const tokens = shape.sequences * shape.length;
    const q = normals(random, tokens * shape.heads * shape.headSize);
    const [k, v] = [1, 2].map(() => normals(random, tokens * shape.keyValueHeads * shape.headSize)) as [
      Float32Array,
      Float32Array,
    ];
    const mask = Uint8Array.from({ length: tokens }, (_, i) => (i < 3 || random.next() < 0.3 ? 0 : 1));
    for (const masked of [shape, { ...shape, mask }]) {
      expectClose(native.attention(q, k, v, masked), reference.attention(q, k, v, masked), ROUNDING);
    }
    const results = withThreads(variant, "f32", [1, 3]).map((backend) => backend.attention(q, k, v, shape));
    expectSame(results[0]!, results[1]!);
  });

  test("attention to nothing is zero, to NaN is NaN", () => {
    const shape = { sequences: 1, length: 2, heads: 1, keyValueHeads: 1, headSize: 2, scale: 1 };
    const ones = new Float32Array(4).fill(1);
    const hidden = { ...shape, mask: Uint8Array.of(0, 0) };
    expect(native.attention(ones, ones, ones, hidden)).toEqual(new Float32Array(4));
    expect(native.attention(new Float32Array(4).fill(Number.NaN), ones, ones, shape).every(Number.isNaN)).toBe(true);
  });

  test("shapes that do not fit are range errors", () => {
    const [one, six] = [new Float32Array(1), new Float32Array(6)];
    const shape = { sequences: 1, length: 3, heads: 2, keyValueHeads: 2, headSize: 1, scale: 1 };
    const refused: (() => unknown)[] = [
      () => native.rmsNorm(six, new Float32Array(4), 0),
      () => native.layerNorm(six, new Float32Array(4), undefined, 0),
      () => native.layerNorm(six, new Float32Array(3), new Float32Array(2), 0),
      () => reference.layerNorm(six, new Float32Array(3), new Float32Array(2), 0),
      () => native.rotate(six, 1, 2, tableOf(3, new Float32Array(6), new Float32Array(6))),
      () => native.rotate(six, 1, 2, tableOf(0, new Float32Array(0), new Float32Array(0))),
      () => native.rotate(six, 1, 2, tableOf(3, new Float32Array(3), one)),
      () => native.softmax(six, 4),
      () => native.gated(six, one, "silu"),
      () => native.attention(six, six, one, shape),
      () => native.attention(six, six, six, { ...shape, keyValueHeads: 0 }),
      () => native.attention(six, six, six, { ...shape, heads: 3, keyValueHeads: 2 }),
      () => native.attention(six, six, six, { ...shape, window: 0 }),
      () => native.attention(six, six, six, { ...shape, chunk: 0 }),
      () => native.attention(six, six, six, { ...shape, valueSize: 2 }),
      () => native.attention(six, six, six, { ...shape, sinks: new Float32Array(7) }),
      () => native.attention(six, six, six, { ...shape, mask: new Uint8Array(2) }),
    ];
    for (const [i, call] of refused.entries()) expect(call, `call ${i}`).toThrow(RangeError);
  });
});

function tableOf(length: number, cos: Float32Array, sin: Float32Array): RotaryTable {
  return { length, cos, sin, pairing: "halves" };
}
