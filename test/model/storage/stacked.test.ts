import { expect, test } from "vitest";
import { decode, encode } from "../../../src/checkpoint/dtypes.js";
import type { Tensor } from "../../../src/checkpoint/tensor.js";
import { stackedExperts } from "../../../src/model/storage/stacked.js";
import { expectCode, temporaryFolder } from "../../checkpoint/support.js";
import { madeCheckpoint } from "../../support/made-checkpoint.js";

const [EXPERTS, WIDTH, HIDDEN] = [2, 2, 3];
const sizes = { count: EXPERTS, width: WIDTH, hidden: HIDDEN };
const names = { gateUp: "gate_up", down: "down", gateUpBias: "gate_up_bias", downBias: "down_bias" };

/** 1, 2, 3, ... */
function counting(...shape: number[]): Tensor {
  const values = Float32Array.from({ length: shape.reduce((a, b) => a * b) }, (_, i) => i + 1);
  return { dtype: "BF16", shape, data: encode("BF16", values) };
}

const biases = { gate_up_bias: counting(EXPERTS, 2 * WIDTH), down_bias: counting(EXPERTS, HIDDEN) };

test.each([
  [
    "rows",
    false,
    { gate: [13, 14, 15, 16, 17, 18], up: [19, 20, 21, 22, 23, 24], down: [7, 8, 9, 10, 11, 12] },
    { gateBias: [5, 6], upBias: [7, 8], downBias: [4, 5, 6] },
  ],
  [
    "columns",
    false,
    { gate: [13, 17, 21, 14, 18, 22], up: [15, 19, 23, 16, 20, 24], down: [7, 10, 8, 11, 9, 12] },
    { gateBias: [5, 6], upBias: [7, 8], downBias: [4, 5, 6] },
  ],
  [
    "columns",
    true,
    { gate: [13, 17, 21, 15, 19, 23], up: [14, 18, 22, 16, 20, 24], down: [7, 10, 8, 11, 9, 12] },
    { gateBias: [5, 7], upBias: [6, 8], downBias: [4, 5, 6] },
  ],
] as const)("layout %s, interleaved %s: the matrices of an expert", async (layout, interleaved, matrices, vectors) => {
  const tensors =
    layout === "rows"
      ? { gate_up: counting(EXPERTS, 2 * WIDTH, HIDDEN), down: counting(EXPERTS, HIDDEN, WIDTH) }
      : { gate_up: counting(EXPERTS, HIDDEN, 2 * WIDTH), down: counting(EXPERTS, WIDTH, HIDDEN) };
  const checkpoint = await madeCheckpoint(await temporaryFolder(), { ...tensors, ...biases });
  const storage = stackedExperts({ ...sizes, ...names, layout, interleaved });
  const expert = await storage.read(checkpoint, 1);
  const values = Object.entries(expert).map(([part, tensor]) => [part, [...decode(tensor!)]]);
  expect(Object.fromEntries(values)).toEqual({ ...matrices, ...vectors });
  expect([expert.gate!.shape, expert.up.shape, expert.down.shape]).toEqual([
    [WIDTH, HIDDEN],
    [WIDTH, HIDDEN],
    [HIDDEN, WIDTH],
  ]);
});

test.each([
  ["the other layout", { gate_up: counting(EXPERTS, HIDDEN, 2 * WIDTH) }, "TENSOR_SHAPE"],
  ["other experts", { down: counting(EXPERTS + 1, HIDDEN, WIDTH) }, "TENSOR_SHAPE"],
  ["a bias of one half", { gate_up_bias: counting(EXPERTS, WIDTH) }, "TENSOR_SHAPE"],
  ["no bias", { down_bias: undefined }, "TENSOR_MISSING"],
  [
    "float8",
    { down: { dtype: "F8_E4M3", shape: [EXPERTS, HIDDEN, WIDTH], data: new Uint8Array(EXPERTS * HIDDEN * WIDTH) } },
    "QUANTISED_SOURCE",
  ],
] as [string, Record<string, Tensor | undefined>, string][])("%s is a named error", async (_, changes, code) => {
  const whole = { gate_up: counting(EXPERTS, 2 * WIDTH, HIDDEN), down: counting(EXPERTS, HIDDEN, WIDTH), ...biases };
  const tensors = Object.entries({ ...whole, ...changes }).filter(([, tensor]) => tensor !== undefined);
  const checkpoint = await madeCheckpoint(
    await temporaryFolder(),
    Object.fromEntries(tensors) as Record<string, Tensor>,
  );
  await expectCode(code, () => stackedExperts({ ...sizes, ...names, layout: "rows" }).check(checkpoint));
});
