import { describe, expect, test } from "vitest";
import type { Activation, Routing } from "../../src/engine/backend.js";
import { Random } from "../../src/random.js";
import { cases, expectClose, expectSame, normals, randomExperts, withThreads } from "./native-cases.js";

/** In bf16 an activation near the middle of two bfloat16 numbers may round to the other one: 2^-8 of one term. */
const TOLERANCE = { f32: 5e-6, bf16: 4e-3 };

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
    { tokens: 1, count: 2, hidden: 1, width: 1, topK: 1, activation: "silu" },
    { tokens: 5, count: 4, hidden: 17, width: 33, topK: 2, activation: "gelu" },
    { tokens: 130, count: 3, hidden: 70, width: 48, topK: 2, activation: "gelu_tanh" },
    { tokens: 40, count: 6, hidden: 64, width: 96, topK: 3, activation: "silu" },
  ] satisfies { activation: Activation; [size: string]: unknown }[])(
    "$tokens tokens, $count experts $hidden x $width",
    (shape) => {
      const { tokens, count, hidden, width, topK, activation } = shape;
      const random = new Random(tokens);
      const tensors = randomExperts(random, count, hidden, width);
      const [own, other] = [native.experts(tensors, activation), reference.experts(tensors, activation)];
      expect([own.count, own.hidden, own.width]).toEqual([count, hidden, width]);
      const x = normals(random, tokens * hidden);

      const routing = randomRouting(random, tokens, topK, count);
      const [actual, expected] = [native.routed(x, own, routing), reference.routed(x, other, routing)];
      expectClose(actual.output, expected.output, tolerance);
      expectClose(actual.norms, expected.norms, tolerance);

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

  test("an expert without output has cosine 0", () => {
    const tensors = randomExperts(new Random(1), 3, 8, 8);
    tensors[1] = { ...tensors[1]!, down: { ...tensors[1]!.down, data: new Uint8Array(2 * 64) } };
    const sums = new Float64Array(9);
    native.addOutputCosines(sums, normals(new Random(2), 5 * 8), native.experts(tensors, "silu"));
    expect([sums[1], sums[3], sums[4], sums[5], sums[7]]).toEqual([0, 0, 0, 0, 0]);
    expect(sums[0]).toBeCloseTo(5, 5);
  });

  test("the same bytes with any number of threads", () => {
    const random = new Random(3);
    const tensors = randomExperts(random, 5, 96, 80);
    const x = normals(random, 300 * 96);
    const routing = randomRouting(random, 300, 3, 5);
    const results = withThreads(variant, precision, [1, 2, 3]).map((backend) => {
      const experts = backend.experts(tensors, "silu");
      const { output, norms } = backend.routed(x, experts, routing);
      const activations = new Float64Array(5 * 80);
      backend.addGatedActivations(activations, x, experts, undefined);
      const cosines = new Float64Array(25);
      backend.addOutputCosines(cosines, x, experts);
      return [output, norms, activations, cosines];
    });
    for (const result of results) for (const [i, array] of result.entries()) expectSame(array, results[0]![i]!);
  });

  test("a token's result does not depend on the other tokens", () => {
    const random = new Random(4);
    const experts = native.experts(randomExperts(random, 4, 40, 40), "silu");
    const x = normals(random, 100 * 40);
    const routing = randomRouting(random, 100, 2, 4);
    const all = native.routed(x, experts, routing).output;
    for (const token of [0, 57, 99]) {
      const selected = routing.selected.slice(2 * token, 2 * token + 2);
      const weights = routing.weights.slice(2 * token, 2 * token + 2);
      const alone = { tokens: 1, topK: 2, selected, weights };
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
      () => native.experts(tensors, "relu" as Activation),
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
    experts.dispose();
    expect(() => native.expertActivation(x, experts, 0)).toThrow(/disposed/);
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
