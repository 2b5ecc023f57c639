import { join } from "node:path";
import { expect, test } from "vitest";
import { Checkpoint } from "../../../src/checkpoint/checkpoint.js";
import { decode, encode } from "../../../src/checkpoint/dtypes.js";
import type { Tensor } from "../../../src/checkpoint/tensor.js";
import { createNativeBackend } from "../../../src/engine/native/native-backend.js";
import { mxfp4Experts } from "../../../src/model/storage/mxfp4.js";
import { Random } from "../../../src/random.js";
import { expectCode, temporaryFolder } from "../../checkpoint/support.js";
import { GOLDENS } from "../../support/goldens.js";
import { madeCheckpoint } from "../../support/made-checkpoint.js";

const [EXPERTS, WIDTH, HIDDEN] = [3, 64, 32];
const storage = mxfp4Experts({
  ...{ count: EXPERTS, width: WIDTH, hidden: HIDDEN },
  ...{ gateUp: "gate_up", down: "down", gateUpBias: "gate_up_bias", downBias: "down_bias" },
});

const backend = createNativeBackend({ precision: "f32", threads: 2 });

const VALUES = [0, 0.5, 1, 1.5, 2, 3, 4, 6];

/** Values that MXFP4 holds, and how it stores them: `[experts, rows, columns]`. */
function quantised(random: Random, rows: number, columns: number) {
  const groups = (EXPERTS * rows * columns) / 32;
  const scales = Uint8Array.from({ length: groups }, () => 120 + random.below(10));
  const codes = Uint8Array.from({ length: 32 * groups }, () => random.below(16));
  const values = [...codes].map((code, i) => (code < 8 ? 1 : -1) * VALUES[code & 7]! * 2 ** (scales[i >> 5]! - 127));
  const blocks = Uint8Array.from({ length: 16 * groups }, (_, i) => codes[2 * i]! | (codes[2 * i + 1]! << 4));
  const shape = [EXPERTS, rows, columns / 32];
  return {
    values,
    blocks: { dtype: "U8", shape: [...shape, 16], data: blocks } as Tensor,
    scales: { dtype: "U8", shape, data: scales } as Tensor,
  };
}

function made() {
  const random = new Random(5);
  const gateUp = quantised(random, 2 * WIDTH, HIDDEN);
  const down = quantised(random, HIDDEN, WIDTH);
  const bias = (size: number): Tensor => {
    const values = Float32Array.from({ length: EXPERTS * size }, (_, i) => i % 256);
    return { dtype: "BF16", shape: [EXPERTS, size], data: encode("BF16", values) };
  };
  const tensors = {
    ...{ gate_up_blocks: gateUp.blocks, gate_up_scales: gateUp.scales, gate_up_bias: bias(2 * WIDTH) },
    ...{ down_blocks: down.blocks, down_scales: down.scales, down_bias: bias(HIDDEN) },
  };
  return { tensors, gateUp: gateUp.values, down: down.values };
}

test("an expert: rows of gate and up in turn, decoded", async () => {
  const { tensors, gateUp, down } = made();
  const checkpoint = await madeCheckpoint(await temporaryFolder(), tensors);
  storage.check(checkpoint);
  expect([...storage.names].sort()).toEqual(Object.keys(tensors).sort());
  for (let e = 0; e < EXPERTS; e++) {
    const expert = await storage.read(checkpoint, e);
    const rows = gateUp.slice(2 * e * WIDTH * HIDDEN, 2 * (e + 1) * WIDTH * HIDDEN);
    const half = (odd: number) => rows.filter((_, i) => Math.floor(i / HIDDEN) % 2 === odd);
    expect(expert.gate!.shape).toEqual([WIDTH, HIDDEN]);
    expect([...decode(expert.gate!)]).toEqual(half(0));
    expect([...decode(expert.up)]).toEqual(half(1));
    expect(expert.down.shape).toEqual([HIDDEN, WIDTH]);
    expect([...decode(expert.down)]).toEqual(down.slice(e * WIDTH * HIDDEN, (e + 1) * WIDTH * HIDDEN));
    const bias = Array.from({ length: 2 * WIDTH }, (_, i) => (2 * e * WIDTH + i) % 256);
    expect([...decode(expert.gateBias!)]).toEqual(bias.filter((_, i) => i % 2 === 0));
    expect([...decode(expert.upBias!)]).toEqual(bias.filter((_, i) => i % 2 === 1));
    expect([...decode(expert.downBias!)]).toEqual(Array.from({ length: HIDDEN }, (_, i) => e * HIDDEN + i));
  }
});

test("an expert is read byte for byte, and encoded to the form and the values that it had", async () => {
  const { tensors } = made();
  const checkpoint = await madeCheckpoint(await temporaryFolder(), tensors);
  const coding = storage.coding!(checkpoint);
  for (let e = 0; e < EXPERTS; e++) {
    const stored = await coding.read(checkpoint, e);
    const values = coding.decode(stored, backend);
    expect(values).toEqual(await storage.read(checkpoint, e));
    const encoded = coding.encode(backend, values, [stored]);
    expect([...encoded.keys()]).toEqual(coding.outputs(EXPERTS).map(({ part }) => part));
    for (const { part, shape, source } of coding.outputs(EXPERTS)) {
      const { dtype, shape: own, data } = encoded.get(part)!;
      expect([part, dtype, [EXPERTS, ...own], data.length]).toEqual([
        part,
        source.dtype,
        shape,
        stored.get(part)!.data.length,
      ]);
    }
    // Of the groups that have no code above 4 the scale is another one, the values are the same.
    expect(coding.decode(encoded, backend)).toEqual(values);
  }
});

test("as floats experts are what transformers stores of the unquantised model", () => {
  const outputs = storage.outputs(2);
  expect(outputs.map(({ name, source, shape }) => [name, source, shape])).toEqual([
    ["gate_up", "gate_up_blocks", [2, HIDDEN, 2 * WIDTH]],
    ["down", "down_blocks", [2, WIDTH, HIDDEN]],
    ["gate_up_bias", "gate_up_bias", [2, 2 * WIDTH]],
    ["down_bias", "down_bias", [2, HIDDEN]],
  ]);
});

test.each([
  ["no scales", { down_scales: undefined }, "TENSOR_MISSING"],
  [
    "blocks without groups",
    { down_blocks: { dtype: "U8", shape: [EXPERTS, HIDDEN, 32], data: new Uint8Array(3072) } },
    "TENSOR_SHAPE",
  ],
  [
    "scales of other groups",
    { down_scales: { dtype: "U8", shape: [EXPERTS, HIDDEN, 1], data: new Uint8Array(96) } },
    "TENSOR_SHAPE",
  ],
  [
    "signed scales",
    { down_scales: { dtype: "I8", shape: [EXPERTS, HIDDEN, 2], data: new Uint8Array(192) } },
    "TENSOR_DTYPE",
  ],
  ["no biases", { gate_up_bias: undefined }, "TENSOR_MISSING"],
] as [string, Record<string, Tensor | undefined>, string][])("%s is a named error", async (_, changes, code) => {
  const tensors = Object.entries({ ...made().tensors, ...changes }).filter(([, tensor]) => tensor !== undefined);
  const checkpoint = await madeCheckpoint(
    await temporaryFolder(),
    Object.fromEntries(tensors) as Record<string, Tensor>,
  );
  await expectCode(code, () => storage.check(checkpoint));
});

test("a width that is not whole groups is a named error", async () => {
  const checkpoint = await Checkpoint.open(join(GOLDENS, "forward/gpt_oss-mxfp4"));
  const prefix = "model.layers.0.mlp.experts.";
  const sizes = { count: 8, width: 65, hidden: 64 };
  const odd = mxfp4Experts({ ...sizes, gateUp: `${prefix}gate_up_proj`, down: `${prefix}down_proj` });
  await expectCode("TENSOR_SHAPE", () => odd.check(checkpoint));
  await checkpoint.close();
});
