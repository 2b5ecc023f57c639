import { describe, expect, test } from "vitest";
import { decode } from "../../src/checkpoint/dtypes.js";
import type { DType } from "../../src/checkpoint/tensor.js";
import type { Activation, Routing } from "../../src/engine/backend.js";
import { Random } from "../../src/random.js";
import {
  cases,
  expectClose,
  expectSame,
  normals,
  randomExperts,
  withBiases,
  withoutGates,
  withThreads,
} from "./native-cases.js";

/** In bf16 an activation near the middle of two bfloat16 numbers may round to the other one: 2^-8 of one term. */
const TOLERANCE = { f32: 5e-6, bf16: 4e-3 };

/** A limit that many values are beyond. */
const CLAMPED: Activation = { kind: "clamped_swiglu", alpha: 1.702, limit: 0.7 };
const ALL_BIASES = ["gateBias", "upBias", "downBias"] as const;

/** Every token chooses among the first experts, so that the last one gets none. */
function randomRouting(random: Random, tokens: number, topK: number, count: number): Routing {
  const chosen = Array.from({ length: tokens }, () =>
    random
      .permutation(count - 1)
      .slice(0, topK)
      .sort(),
  );
  const selected = Int32Array.from(chosen.flatMap((list) => [...list]));
  return { tokens, topK, selected, weights: normals(random, tokens * topK) };
}

describe.each(cases)("$variant $precision", ({ variant, precision, native, reference }) => {
  const tolerance = TOLERANCE[precision];

  test.each([
    { tokens: 1, count: 2, hidden: 1, width: 1, topK: 1, activation: "silu", biases: [] },
    { tokens: 5, count: 4, hidden: 17, width: 33, topK: 2, activation: "gelu", biases: [] },
    { tokens: 130, count: 3, hidden: 70, width: 48, topK: 2, activation: "gelu_tanh", biases: [] },
    { tokens: 40, count: 6, hidden: 64, width: 96, topK: 3, activation: "silu", biases: [] },
    { tokens: 7, count: 3, hidden: 40, width: 20, topK: 2, activation: "sigmoid", biases: ["downBias"] },
    { tokens: 9, count: 3, hidden: 20, width: 65, topK: 1, activation: "silu", biases: ["upBias"] },
    { tokens: 130, count: 3, hidden: 70, width: 48, topK: 2, activation: CLAMPED, biases: ALL_BIASES },
    { tokens: 2, count: 4, hidden: 65, width: 33, topK: 3, activation: CLAMPED, biases: ALL_BIASES },
    { tokens: 130, count: 3, hidden: 70, width: 130, topK: 2, activation: "relu", biases: [], gates: false },
    { tokens: 3, count: 4, hidden: 33, width: 65, topK: 2, activation: "relu", biases: ["upBias"], gates: false },
    { tokens: 9, count: 3, hidden: 20, width: 20, topK: 1, activation: "silu", biases: [], gates: false },
  ] satisfies { activation: Activation; biases: readonly (typeof ALL_BIASES)[number][]; [size: string]: unknown }[])(
    "$tokens tokens, $count experts $hidden x $width, biases $biases, gates $gates",
    (shape) => {
      const { tokens, count, hidden, width, topK, activation, biases } = shape;
      const random = new Random(tokens);
      const gated = randomExperts(random, count, hidden, width);
      const tensors = withBiases(random, "gates" in shape ? withoutGates(gated) : gated, biases);
      const [own, other] = [native.experts(tensors, activation), reference.experts(tensors, activation)];
      expect([own.count, own.hidden, own.width]).toEqual([count, hidden, width]);
      const x = normals(random, tokens * hidden);

      const routing = randomRouting(random, tokens, topK, count);
      const [actual, expected] = [native.routed(x, own, routing), reference.routed(x, other, routing)];
      expectClose(actual.output, expected.output, tolerance);
      expectClose(actual.norms, expected.norms, tolerance);

      const factors = normals(random, tokens * topK);
      const sums = [new Float64Array(count * width).fill(1), new Float64Array(count * width).fill(1)] as const;
      const summed = native.routed(x, own, routing, { factors, sums: sums[0] });
      reference.routed(x, other, routing, { factors, sums: sums[1] });
      expectClose(sums[0], sums[1], TOLERANCE.f32);
      expectSame(summed.output, actual.output);

      const last = count - 1;
      const activations = reference.expertActivation(x, other, last);
      expectClose(native.expertActivation(x, own, last), activations, TOLERANCE.f32);
      expectClose(
        native.expertDown(activations, own, last),
        reference.expertDown(activations, other, last),
        TOLERANCE.f32,
      );

      for (const factors of [undefined, normals(random, tokens * count)]) {
        const sums = [new Float64Array(count * width).fill(1), new Float64Array(count * width).fill(1)] as const;
        native.addGatedActivations(sums[0], x, own, factors);
        reference.addGatedActivations(sums[1], x, other, factors);
        expectClose(sums[0], sums[1], TOLERANCE.f32);
      }

      const cosines = [new Float64Array(count * count).fill(1), new Float64Array(count * count).fill(1)] as const;
      native.addOutputCosines(cosines[0], x, own);
      reference.addOutputCosines(cosines[1], x, other);
      expectClose(cosines[0], cosines[1], tolerance);
    },
  );

  test("experts without gates are those whose gate is up", () => {
    const random = new Random(11);
    const plain = withoutGates(randomExperts(random, 3, 40, 70));
    const [own, paired] = [plain, plain.map((expert) => ({ ...expert, gate: expert.up }))].map((tensors) =>
      native.experts(tensors, "relu"),
    );
    const x = normals(random, 8 * 40);
    expectSame(native.expertActivation(x, own!, 1), native.expertActivation(x, paired!, 1));
    for (const scalesInputs of [false, true]) {
      const routing = { ...randomRouting(random, 8, 2, 3), scalesInputs };
      expectSame(native.routed(x, own!, routing).output, native.routed(x, paired!, routing).output);
    }
  });

  test("gates of some experts only, and a bias of a gate that is not there, are range errors", () => {
    const random = new Random(12);
    const experts = randomExperts(random, 2, 8, 8);
    const wrong = [[experts[0]!, withoutGates(experts)[1]!], withBiases(random, withoutGates(experts), ["gateBias"])];
    for (const backend of [native, reference])
      for (const tensors of wrong) expect(() => backend.experts(tensors, "relu")).toThrow(RangeError);
  });

  test("weights that scale inputs", () => {
    const random = new Random(7);
    for (const [tokens, activation, biases] of [
      [3, "silu", []],
      [130, CLAMPED, ["downBias"]],
    ] as const) {
      const tensors = withBiases(random, randomExperts(random, 4, 40, 50), biases);
      const [own, other] = [native.experts(tensors, activation), reference.experts(tensors, activation)];
      const x = normals(random, tokens * 40);
      const routing = { ...randomRouting(random, tokens, 1, 4), scalesInputs: true };
      const [actual, expected] = [native.routed(x, own, routing), reference.routed(x, other, routing)];
      expectClose(actual.output, expected.output, tolerance);
      expectClose(actual.norms, expected.norms, tolerance);
      // With one expert for each token: its output for the scaled input.
      const scaled = x.map((value, i) => value * routing.weights[Math.floor(i / 40)]!);
      for (const [token, expert] of routing.selected.entries()) {
        const row = [token * 40, (token + 1) * 40] as const;
        const output = native.expertDown(native.expertActivation(scaled.slice(...row), own, expert), own, expert);
        // In bf16 another input is rounded.
        expectClose(actual.output.slice(...row), output, precision === "f32" ? 1e-5 : 3e-2);
        expect(actual.norms[token]).toBeCloseTo(Math.hypot(...actual.output.slice(...row)), 4);
      }
    }
  });

  test("a bias of the output is part of it, scaled with it", () => {
    const random = new Random(8);
    const [tensors] = withBiases(random, randomExperts(random, 1, 6, 5), ["downBias"]);
    const zero = { ...tensors!, down: { ...tensors!.down, data: new Uint8Array(2 * 30) } };
    const experts = native.experts([zero], "silu");
    const bias = decode(zero.downBias!);
    const routing = { tokens: 1, topK: 1, selected: Int32Array.of(0), weights: Float32Array.of(0.5) };
    const x = normals(random, 6);
    const { output, norms } = native.routed(x, experts, routing);
    expect(output).toEqual(bias.map((value) => value / 2));
    expect(norms[0]).toBeCloseTo(Math.hypot(...bias), 5);
    expect(native.routed(x, experts, { ...routing, scalesInputs: true }).output).toEqual(bias);
    expect(native.expertDown(new Float32Array(5), experts, 0)).toEqual(bias);
  });

  test("biases of every float type", () => {
    const random = new Random(9);
    const x = normals(random, 8);
    for (const dtype of ["F64", "F32", "F16", "BF16"] satisfies DType[]) {
      const tensors = withBiases(random, randomExperts(random, 2, 8, 8), ALL_BIASES, dtype);
      const [own, other] = [native.experts(tensors, "silu"), reference.experts(tensors, "silu")];
      expectClose(native.expertActivation(x, own, 1), reference.expertActivation(x, other, 1), TOLERANCE.f32);
    }
  });

  test("an expert without output has cosine 0", () => {
    const tensors = randomExperts(new Random(1), 3, 8, 8);
    tensors[1] = { ...tensors[1]!, down: { ...tensors[1]!.down, data: new Uint8Array(2 * 64) } };
    const sums = new Float64Array(9);
    native.addOutputCosines(sums, normals(new Random(2), 5 * 8), native.experts(tensors, "silu"));
    expect([sums[1], sums[3], sums[4], sums[5], sums[7]]).toEqual([0, 0, 0, 0, 0]);
    expect(sums[0]).toBeCloseTo(5, 5);
  });

  test.each([
    ["plain", "silu", [], false],
    ["with biases", CLAMPED, ALL_BIASES, false],
    ["with scaled inputs", "sigmoid", ["downBias"], true],
  ] as const)("the same bytes with any number of threads: %s", (_, activation, biases, scalesInputs) => {
    const random = new Random(3);
    const tensors = withBiases(random, randomExperts(random, 5, 96, 80), biases);
    const x = normals(random, 300 * 96);
    const routing = { ...randomRouting(random, 300, 3, 5), scalesInputs };
    const results = withThreads(variant, precision, [1, 2, 3]).map((backend) => {
      const experts = backend.experts(tensors, activation);
      const { output, norms } = backend.routed(x, experts, routing);
      const activations = new Float64Array(5 * 80);
      backend.addGatedActivations(activations, x, experts, undefined);
      const cosines = new Float64Array(25);
      backend.addOutputCosines(cosines, x, experts);
      return [output, norms, activations, cosines];
    });
    for (const result of results) for (const [i, array] of result.entries()) expectSame(array, results[0]![i]!);
  });

  test.each([
    ["plain", "silu", [], false],
    ["with biases", CLAMPED, ALL_BIASES, false],
    ["with scaled inputs", "silu", [], true],
  ] as const)("a token's result does not depend on the other tokens: %s", (_, activation, biases, scalesInputs) => {
    const random = new Random(4);
    const experts = native.experts(withBiases(random, randomExperts(random, 4, 40, 40), biases), activation);
    const x = normals(random, 100 * 40);
    const routing = { ...randomRouting(random, 100, 2, 4), scalesInputs };
    const all = native.routed(x, experts, routing).output;
    for (const token of [0, 57, 99]) {
      const selected = routing.selected.slice(2 * token, 2 * token + 2);
      const weights = routing.weights.slice(2 * token, 2 * token + 2);
      const alone = { tokens: 1, topK: 2, selected, weights, scalesInputs };
      const row = [token * 40, (token + 1) * 40] as const;
      expectSame(native.routed(x.slice(...row), experts, alone).output, all.slice(...row));
    }
  });

  test("shapes that do not fit are range errors", () => {
    const random = new Random(5);
    const tensors = randomExperts(random, 2, 4, 6);
    const experts = native.experts(tensors, "silu");
    const x = new Float32Array(4);
    const routing = { tokens: 1, topK: 1, weights: new Float32Array(1) };
    const refused: (() => unknown)[] = [
      () => native.experts([tensors[0]!, { ...tensors[1]!, up: tensors[1]!.down }], "silu"),
      () => native.experts(tensors, "tanh" as Activation),
      () => native.routed(x, experts, { ...routing, selected: Int32Array.of(2) }),
      () => native.routed(x, experts, { ...routing, selected: Int32Array.of(-1) }),
      () => native.routed(x, experts, { ...routing, selected: Int32Array.of(0, 1) }),
      () => native.routed(x, reference.experts(tensors, "silu"), { ...routing, selected: Int32Array.of(0) }),
      () => native.expertActivation(x, experts, 2),
      () => native.expertDown(x, experts, 0),
      () => native.addGatedActivations(new Float64Array(11), x, experts, undefined),
      () => native.addGatedActivations(new Float64Array(12), x, experts, new Float32Array(1)),
      () => native.addOutputCosines(new Float64Array(3), x, experts),
    ];
    for (const call of refused) expect(call).toThrow(RangeError);
    const selected = Int32Array.of(0);
    for (const backend of [native, reference]) {
      const biased = withBiases(random, tensors, ALL_BIASES);
      const { gateBias, ...others } = biased[1]!;
      expect(() => backend.experts([biased[0]!, others], "silu")).toThrow(RangeError);
      expect(() => backend.experts([biased[0]!, { ...others, gateBias: others.downBias }], "silu")).toThrow(RangeError);
      const scaled = { ...routing, selected, scalesInputs: true };
      for (const kind of ["gateBias", "upBias"] as const) {
        const made = backend.experts(withBiases(random, tensors, [kind]), "silu");
        expect(() => backend.routed(x, made, scaled)).toThrow(RangeError);
      }
    }
    experts.dispose();
    expect(() => native.expertActivation(x, experts, 0)).toThrow(/disposed/);
  });

  test("experts that share weights with others outlive them, and compute the same bits", () => {
    const random = new Random(13);
    const tensors = withBiases(random, randomExperts(random, 4, 40, 70), ["downBias"]);
    const x = normals(random, 9 * 40);
    const routing = randomRouting(random, 9, 2, 3);
    for (const backend of [native, reference]) {
      const original = backend.experts(tensors, "silu");
      const some = original.empty();
      some.share(original, 3);
      some.add(tensors[1]!);
      some.share(original, 0);
      original.dispose();
      expect([some.count, some.hidden, some.width]).toEqual([3, 40, 70]);
      const anew = backend.experts([tensors[3]!, tensors[1]!, tensors[0]!], "silu");
      expectSame(backend.routed(x, some, routing).output, backend.routed(x, anew, routing).output);
      some.dispose();
    }
  });

  test("experts of another form are not shared", () => {
    const random = new Random(14);
    const tensors = randomExperts(random, 2, 8, 6);
    for (const backend of [native, reference]) {
      const experts = backend.experts(tensors, "silu");
      const others = [
        backend.experts(randomExperts(random, 1, 8, 7), "silu"),
        backend.experts(withoutGates(tensors), "silu"),
        backend.experts(withBiases(random, tensors, ["upBias"]), "silu"),
        backend.experts(tensors, "relu"),
      ];
      for (const other of others) expect(() => experts.share(other, 0)).toThrow(RangeError);
      expect(() => experts.share(backend.experts(tensors, "silu"), 2)).toThrow(RangeError);
      expect(experts.count).toBe(2);
    }
    const disposed = native.experts(tensors, "silu");
    disposed.dispose();
    expect(() => native.experts(tensors, "silu").share(disposed, 0)).toThrow(/disposed/);
  });

  test("no experts and no tokens", () => {
    const none = native.experts([], "silu");
    expect(none.count).toBe(0);
    const experts = native.experts(randomExperts(new Random(6), 2, 4, 4), "silu");
    const nothing = { tokens: 0, topK: 1, selected: new Int32Array(0), weights: new Float32Array(0) };
    expect(native.routed(new Float32Array(0), experts, nothing).output.length).toBe(0);
    native.addOutputCosines(new Float64Array(4), new Float32Array(0), experts);
  });
});
