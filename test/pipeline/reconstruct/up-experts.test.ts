import { describe, expect, test } from "vitest";
import type { Tensor } from "../../../src/checkpoint/tensor.js";
import { splitTokens } from "../../../src/compress/reconstruct/split.js";
import type { Activation, ExpertTensors } from "../../../src/engine/backend.js";
import type { MoeDescription } from "../../../src/model/description.js";
import { StatesInMemory } from "../../../src/model/hidden-states.js";
import { DownExperts } from "../../../src/pipeline/reconstruct/down-experts.js";
import { LayerTargets } from "../../../src/pipeline/reconstruct/layer-targets.js";
import { UpExperts } from "../../../src/pipeline/reconstruct/up-experts.js";
import { Random } from "../../../src/random.js";
import { BACKENDS, normals } from "../../compress/weights/matrices.js";

const [HIDDEN, WIDTH, EXPERTS, LENGTH, SEQUENCES] = [6, 5, 3, 4, 6];

const CASES: readonly { readonly activation: Activation; readonly biased: boolean; readonly scalesInputs: boolean }[] =
  [
    { activation: "silu", biased: false, scalesInputs: false },
    { activation: "gelu_tanh", biased: true, scalesInputs: false },
    { activation: "silu", biased: false, scalesInputs: true },
  ];

describe.each(BACKENDS)("%s", (_, backend) => {
  test.each(CASES)("what problems say of other weights is what experts make of them: %j", (one) => {
    const random = new Random(1);
    const tensor = (...shape: number[]): Tensor => {
      const values = normals(
        random,
        shape.reduce((a, b) => a * b),
      );
      return { dtype: "F32", shape, data: new Uint8Array(values.buffer) };
    };
    const experts = Array.from(
      { length: EXPERTS },
      (): ExpertTensors => ({
        ...{ gate: tensor(WIDTH, HIDDEN), up: tensor(WIDTH, HIDDEN), down: tensor(HIDDEN, WIDTH) },
        ...(one.biased && { gateBias: tensor(WIDTH), upBias: tensor(WIDTH), downBias: tensor(HIDDEN) }),
      }),
    );
    const moe = {
      ...{ kind: "moe", activation: one.activation },
      experts: { count: EXPERTS, width: WIDTH, hidden: HIDDEN, biased: one.biased },
      router: { weight: "router", scores: "softmax", topK: 2, normalise: true, scalesInputs: one.scalesInputs },
    } as unknown as MoeDescription;
    const batch = { sequences: SEQUENCES, length: LENGTH, ids: new Int32Array(SEQUENCES * LENGTH) };
    const hidden = normals(random, batch.ids.length * HIDDEN);
    const targets = new LayerTargets(backend, moe, splitTokens([batch], 1_000, 0));
    targets.observe(0, hidden, new Float32Array(hidden.length));
    const router = { weight: backend.matrix(tensor(EXPERTS, HIDDEN)), bias: undefined, selectionBias: undefined };
    const moeInput = (x: Float32Array) => ({ router: x, experts: x });
    const routed = targets.routed(router as never, EXPERTS, new StatesInMemory([hidden]), moeInput);
    const inputs = targets.rowsFrom(new StatesInMemory([hidden]), (x) => x);
    const options = { backend, moe, experts, dtype: undefined, routed, targets, inputs, free: new Set([0, 1, 2]) };
    let looked = 0;
    for (const problem of [new DownExperts(options), new UpExperts(options)]) {
      for (let expert = 0; expert < EXPERTS; expert++) {
        const before = problem.weights(expert);
        problem.replace(
          expert,
          before.map((value) => value + random.normal()),
        );
        const change = problem.weights(expert).map((value, i) => value - before[i]!);
        const ready = backend.experts(
          [experts[expert]!, { ...experts[expert]!, ...problem.matrices.parts(expert) }],
          one.activation,
        );
        const made = (x: Float32Array, which: number) =>
          backend.expertDown(backend.expertActivation(x, ready, which), ready, which);
        for (const part of ["fitted", "heldOut"] as const) {
          const pieces = [...problem.pieces(expert, part)];
          const tokens = [...routed[part].of(expert)];
          expect(pieces).toHaveLength(tokens.length);
          for (const [i, { rows, values }] of pieces.entries()) {
            const { hidden: x, weights } = tokens[i]!;
            const scaled = one.scalesInputs ? x.map((value, j) => value * weights[Math.floor(j / HIDDEN)]!) : x;
            const [old, now] = [made(scaled, 0), made(scaled, 1)];
            const said = (() => {
              if (!(problem instanceof UpExperts)) return backend.product(values, change, problem.columns);
              const { inputs, outer } = problem.around;
              const made = backend.product(inputs, change, problem.columns, { rows, factors: values });
              return backend.product(made, outer(expert), WIDTH);
            })();
            for (const row of rows.keys()) {
              const token = tokens[i]!.tokens[row]!;
              const own = hidden.subarray(token * HIDDEN, (token + 1) * HIDDEN);
              const size = Math.sqrt(HIDDEN / own.reduce((sum, value) => sum + value ** 2, 0));
              const factor = size * (one.scalesInputs ? 1 : weights[row]!);
              for (let j = row * HIDDEN; j < (row + 1) * HIDDEN; j++) {
                expect(Math.abs(said[j]! - factor * (now[j]! - old[j]!))).toBeLessThan(2e-4);
                looked++;
              }
            }
          }
        }
        ready.dispose();
      }
    }
    expect(looked).toBe(2 * 2 * batch.ids.length * HIDDEN);
    router.weight.dispose();
  });
});
