import { describe, expect, test } from "vitest";
import { decode, encode } from "../../src/checkpoint/dtypes.js";
import type { Tensor } from "../../src/checkpoint/tensor.js";
import { createNativeBackend } from "../../src/engine/native/native-backend.js";
import { quantisationOf } from "../../src/model/quantisation.js";
import { expectWeight, readWeight, weightNumbers } from "../../src/model/read-weight.js";
import { hasWeight } from "../../src/model/weight-parts.js";
import { Random } from "../../src/random.js";
import { expectCode, temporaryFolder } from "../checkpoint/support.js";
import { madeCheckpoint } from "../support/made-checkpoint.js";

const [ROWS, COLUMNS, GROUP] = [16, 64, 32];
const random = new Random(4);
/** Integers 0 to 15 of each output and input, zero points of each group and output. */
const codes = Array.from({ length: ROWS }, () => Array.from({ length: COLUMNS }, () => random.below(16)));
const zeros = Array.from({ length: 2 }, () => Array.from({ length: ROWS }, () => 1 + random.below(15)));
const scales = Float32Array.from({ length: 2 * ROWS }, (_, i) => 2 ** -(i % 5));

const words = (
  shape: readonly [number, number],
  nibble: (word: number, column: number, place: number) => number,
): Tensor => {
  const values = new Int32Array(shape[0] * shape[1]);
  for (let i = 0; i < values.length; i++) {
    for (let place = 0; place < 8; place++)
      values[i]! |= nibble(Math.floor(i / shape[1]), i % shape[1], place) << (4 * place);
  }
  return { dtype: "I32", shape, data: new Uint8Array(values.buffer) };
};
const ints = (values: readonly number[]): Tensor => ({
  dtype: "I32",
  shape: [values.length],
  data: new Uint8Array(Int32Array.from(values).buffer),
});
const stored: Tensor = { dtype: "F16", shape: [2, ROWS], data: encode("F16", scales) };
/** Where AWQ puts the outputs of a word: its lowest bits hold the first, the next the third. */
const AWQ_PLACES = [0, 2, 4, 6, 1, 3, 5, 7];

const gptq = {
  "a.qweight": words([COLUMNS / 8, ROWS], (word, row, place) => codes[row]![8 * word + place]!),
  "a.qzeros": words([2, ROWS / 8], (group, word, place) => zeros[group]![8 * word + place]! - 1),
  "a.scales": stored,
};
const awq = {
  "a.qweight": words([COLUMNS, ROWS / 8], (column, word, place) => codes[8 * word + AWQ_PLACES[place]!]![column]!),
  "a.qzeros": words([2, ROWS / 8], (group, word, place) => zeros[group]![8 * word + AWQ_PLACES[place]!]!),
  "a.scales": stored,
};
const values = (groupOf: (column: number) => number) =>
  codes.flatMap((row, r) =>
    row.map((code, column) => (code - zeros[groupOf(column)]![r]!) * scales[groupOf(column) * ROWS + r]!),
  );

const GPTQ = { quant_method: "gptq", bits: 4, group_size: GROUP };
const open = async (tensors: Record<string, Tensor>, quantization_config: object) =>
  madeCheckpoint(await temporaryFolder(), tensors, { quantization_config });

describe("weights of AutoGPTQ and AutoAWQ", () => {
  const backend = createNativeBackend({ precision: "f32", threads: 2 });
  const scattered = Array.from({ length: COLUMNS }, (_, column) => column % 2);
  test.each([
    ["gptq", gptq, GPTQ, (column: number) => column >> 5],
    ["gptq in the order of activations", { ...gptq, "a.g_idx": ints(scattered) }, GPTQ, (column: number) => column % 2],
    ["awq", awq, { quant_method: "awq", bits: 4, group_size: GROUP, version: "gemm" }, (column: number) => column >> 5],
  ])("%s is read, whole and by rows", async (_, tensors, config, groupOf) => {
    const checkpoint = await open(tensors, config);
    expect(hasWeight(checkpoint, "a.weight")).toBe(true);
    expectWeight(checkpoint, "a.weight", [ROWS, COLUMNS]);
    expect(weightNumbers(checkpoint, "a.weight")).toBe(ROWS * COLUMNS);
    for (const by of [undefined, backend]) {
      const weight = await readWeight(checkpoint, "a.weight", undefined, by);
      expect([weight.dtype, weight.shape]).toEqual(["F16", [ROWS, COLUMNS]]);
      expect([...decode(weight)]).toEqual(values(groupOf).map((value) => value + 0));
    }
    const rows = await readWeight(checkpoint, "a.weight", [3, 5]);
    expect([...decode(rows)]).toEqual(values(groupOf).slice(3 * COLUMNS, 5 * COLUMNS));
  });

  test("parts that do not fit are named errors", async () => {
    for (const tensors of [
      { ...gptq, "a.qzeros": ints([1]) },
      { ...gptq, "a.scales": { ...stored, dtype: "I16" as const } },
      { "a.qweight": gptq["a.qweight"], "a.scales": stored },
    ]) {
      const checkpoint = await open(tensors as Record<string, Tensor>, GPTQ);
      await expectCode("QUANTISED_PARTS", () => expectWeight(checkpoint, "a.weight", [ROWS, COLUMNS]));
    }
    const checkpoint = await open({ ...gptq, "a.g_idx": ints(Array<number>(COLUMNS).fill(2)) }, GPTQ);
    const error = await expectCode("QUANTISED_PARTS", () => readWeight(checkpoint, "a.weight"));
    expect(error.message).toContain("g_idx says group 2 of 2");
  });

  test.each([
    ["bits", 3, { ...GPTQ, bits: 3 }],
    ["checkpoint_format", "marlin", { ...GPTQ, checkpoint_format: "marlin" }],
    ["is_marlin_format", true, { ...GPTQ, is_marlin_format: true }],
    ["group_size", 0, { ...GPTQ, group_size: 0 }],
    ["dynamic", { "+:.*mlp": { bits: 8 } }, { ...GPTQ, dynamic: { "-:.*gate": {}, "+:.*mlp": { bits: 8 } } }],
    ["version", "gemv", { quant_method: "awq", version: "gemv" }],
    ["zero_point", false, { quant_method: "awq", zero_point: false }],
    ["bits", 8, { quant_method: "awq", bits: 8 }],
  ])("%s %j is refused by key and value", async (key, value, quantization_config) => {
    const error = await expectCode("CONFIG_UNSUPPORTED", () =>
      quantisationOf({ config: { quantization_config } as never }),
    );
    expect(error.message).toBe(`${key} ${JSON.stringify(value)} is not supported`);
  });
});
