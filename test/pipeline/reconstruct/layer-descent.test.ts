import { expect, test } from "vitest";
import type { Tensor } from "../../../src/checkpoint/tensor.js";
import { Residuals } from "../../../src/compress/reconstruct/residuals.js";
import { splitTokens } from "../../../src/compress/reconstruct/split.js";
import { subtractAll } from "../../../src/compress/reconstruct/sweep.js";
import type { ExpertTensors } from "../../../src/engine/backend.js";
import { createNativeBackend } from "../../../src/engine/native/native-backend.js";
import type { MoeDescription } from "../../../src/model/description.js";
import { StatesInMemory } from "../../../src/model/hidden-states.js";
import { MoeBlock } from "../../../src/model/moe.js";
import { DownExperts } from "../../../src/pipeline/reconstruct/down-experts.js";
import { descendLayer } from "../../../src/pipeline/reconstruct/layer-descent.js";
import { LayerTargets } from "../../../src/pipeline/reconstruct/layer-targets.js";
import { DESCENT_NUMBERS } from "../../../src/pipeline/reconstruct/refit-plan.js";
import { Random } from "../../../src/random.js";
import { normals } from "../../compress/weights/matrices.js";

const [HIDDEN, WIDTH, EXPERTS, LENGTH, SEQUENCES] = [16, 12, 5, 32, 48];
const backend = createNativeBackend({ precision: "f32", threads: 2 });
const random = new Random(11);

const tensorOf = (values: Float32Array, ...shape: number[]): Tensor => ({
  ...{ dtype: "F32", shape },
  data: new Uint8Array(values.buffer),
});
const tensor = (rows: number, columns: number) =>
  tensorOf(
    normals(random, rows * columns).map((value) => value / Math.sqrt(columns)),
    rows,
    columns,
  );
const expert = (): ExpertTensors => ({
  ...{ gate: tensor(WIDTH, HIDDEN), up: tensor(WIDTH, HIDDEN), down: tensor(HIDDEN, WIDTH) },
});
/** The same expert, somewhat off. */
const near = (one: ExpertTensors): ExpertTensors =>
  Object.fromEntries(
    Object.entries(one).map(([part, { shape, data }]) => {
      const values = new Float32Array(data.buffer.slice(0));
      return [
        part,
        tensorOf(
          values.map((value) => value + 0.1 * random.normal()),
          ...shape,
        ),
      ];
    }),
  ) as unknown as ExpertTensors;

const moe = {
  ...{ kind: "moe", activation: "silu" },
  experts: { count: EXPERTS, width: WIDTH, hidden: HIDDEN },
  router: { weight: "router", scores: "softmax", topK: 2, normalise: true },
} as unknown as MoeDescription;

/** A layer whose experts are near those that make its outputs. */
function problem() {
  const wanted = Array.from({ length: EXPERTS }, expert);
  const router = { router: tensor(EXPERTS, HIDDEN) };
  const batch = { sequences: SEQUENCES, length: LENGTH, ids: new Int32Array(SEQUENCES * LENGTH) };
  const hidden = normals(random, batch.ids.length * HIDDEN);
  const block = new MoeBlock(backend, moe, router, backend.experts(wanted, "silu"));
  const targets = new LayerTargets(backend, moe, splitTokens([batch], 10_000, 0));
  targets.observe(0, hidden, block.run({ router: hidden, experts: hidden }).output);
  const routed = targets.routed(block.router, EXPERTS, new StatesInMemory([hidden]), (x) => ({
    router: x,
    experts: x,
  }));
  const inputs = targets.rowsFrom(new StatesInMemory([hidden]), (x) => x);
  const experts = wanted.map(near);
  const free = new Set(wanted.keys());
  return { backend, moe, experts, dtype: undefined, routed, targets, inputs, free };
}

const residualsOf = ({ targets }: ReturnType<typeof problem>) =>
  new Residuals(targets.outputs.slice(), targets.size, targets.split.fitted, targets.split.heldOut);

test.each([1, 2, 5])("%i experts at a time: the errors that are told are those of the experts", async (together) => {
  const options = problem();
  const bytes = together * 4 * DESCENT_NUMBERS * 3 * HIDDEN * WIDTH;
  const pauses: number[] = [];
  const found = await descendLayer(residualsOf(options), options, {
    ...{ epochs: 8, seed: 0, fitted: options.targets.split.fitted, bytes },
    pause: async (share) => void pauses.push(share),
  });
  const groups = Math.ceil(EXPERTS / together);
  expect(found.rounds).toHaveLength(groups);
  expect(found.rounds.map((round) => ("experts" in round ? round.experts : 0)).reduce((a, b) => a + b)).toBe(EXPERTS);
  const errors = found.rounds.map(({ heldOut }) => heldOut.lost / heldOut.of);
  expect(errors).toEqual([...errors].sort((a, b) => b - a));
  const anew = residualsOf(options);
  await subtractAll(backend, new DownExperts({ ...options, experts: found.experts }), anew, async () => undefined);
  const [told, actual] = [found.after.heldOut, anew.errors().heldOut];
  expect(actual.lost / told.lost).toBeCloseTo(1, 3);
  expect(told.lost).toBeLessThan(0.3 * found.before.heldOut.lost);
  // Later groups take less of what is there, but all of them are counted.
  expect(Math.max(...pauses)).toBeLessThanOrEqual(1);
  expect(pauses).toEqual([...pauses].sort((a, b) => a - b));
});
