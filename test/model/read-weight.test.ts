import { describe, expect, test } from "vitest";
import { decode, encode } from "../../src/checkpoint/dtypes.js";
import type { DType, Tensor } from "../../src/checkpoint/tensor.js";
import { expectWeight, readWeight } from "../../src/model/read-weight.js";
import { Random } from "../../src/random.js";
import { expectCode, temporaryFolder } from "../checkpoint/support.js";
import { madeCheckpoint, randomBytes } from "../support/made-checkpoint.js";

const [ROWS, COLUMNS] = [160, 130];

function floats(dtype: DType, shape: readonly number[]): Tensor {
  const values = Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => 2 ** -i);
  return { dtype, shape, data: encode(dtype, values) };
}

const weight = randomBytes(new Random(3), "F8_E4M3", ROWS, COLUMNS);
const whole = { "a.weight": weight, "a.weight_scale_inv": floats("F32", [2, 2]) };
const fp8 = { quantization_config: { quant_method: "fp8", weight_block_size: [128, 128] } };

const open = async (tensors: Record<string, Tensor>, config: object = fp8) =>
  madeCheckpoint(await temporaryFolder(), tensors, config);

describe("readWeight", () => {
  test("floats come as they are stored", async () => {
    const stored = floats("BF16", [4, 3]);
    const checkpoint = await open({ "a.weight": stored });
    expect(await readWeight(checkpoint, "a.weight")).toEqual(stored);
    expect(await readWeight(checkpoint, "a.weight", [1, 3])).toEqual(await checkpoint.readRows("a.weight", 1, 3));
  });

  test("FP8 in a checkpoint that is not quantised is a float like others", async () => {
    const checkpoint = await open({ "a.weight": weight }, {});
    expect(await readWeight(checkpoint, "a.weight")).toEqual(weight);
  });

  test.each(["F32", "BF16"] as const)("FP8 is decoded with its %s scales, whole or by rows", async (dtype) => {
    const checkpoint = await open({ ...whole, "a.weight_scale_inv": floats(dtype, [2, 2]) });
    expectWeight(checkpoint, "a.weight", [ROWS, COLUMNS]);
    const read = await readWeight(checkpoint, "a.weight");
    const codes = decode(weight);
    const expected = codes.map((value, i) => {
      const block = 2 * (Math.floor(i / COLUMNS) < 128 ? 0 : 1) + (i % COLUMNS < 128 ? 0 : 1);
      return value * 2 ** -block;
    });
    expect([read.dtype, read.shape]).toEqual(["F32", [ROWS, COLUMNS]]);
    expect(decode(read)).toEqual(expected);
    const rows = await readWeight(checkpoint, "a.weight", [120, 150]);
    expect(decode(rows)).toEqual(expected.slice(120 * COLUMNS, 150 * COLUMNS));
  });

  test("the block size is 128 x 128 where the config names none, else what it says", async () => {
    expect(
      (await readWeight(await open(whole, { quantization_config: { quant_method: "fp8" } }), "a.weight")).dtype,
    ).toBe("F32");
    const config = { quantization_config: { quant_method: "fp8", weight_block_size: [16, 130] } };
    const checkpoint = await open({ ...whole, "a.weight_scale_inv": floats("F32", [10, 1]) }, config);
    expect(decode(await readWeight(checkpoint, "a.weight"))[150 * COLUMNS]).toBe(
      decode(weight)[150 * COLUMNS]! * 2 ** -9,
    );
  });
});

describe("weights whose scales do not fit are named errors, before and when they are read", () => {
  const scales = (shape: readonly number[]) => ({ ...whole, "a.weight_scale_inv": floats("F32", shape) });
  test.each([
    ["no scales", { "a.weight": weight }, fp8, "has no scales"],
    ["one scale for the tensor", scales([1]), fp8, "one for the whole tensor"],
    ["one scale without an axis", scales([]), fp8, "one for the whole tensor"],
    ["a scale for each row", scales([ROWS, 1]), fp8, "one for each row"],
    ["a scale for each row, without a second axis", scales([ROWS]), fp8, "one for each row"],
    ["a grid of whole blocks only", scales([1, 2]), fp8, "expected [2, 2]"],
    ["a transposed grid of other blocks", scales([3, 2]), fp8, "expected [2, 2]"],
    [
      "scales of integers",
      { ...whole, "a.weight_scale_inv": randomBytes(new Random(1), "U8", 2, 2) },
      fp8,
      "scales of type U8",
    ],
    ["E5M2", { ...whole, "a.weight": { ...weight, dtype: "F8_E5M2" } }, fp8, "only F8_E4M3"],
    ["a vector", { ...whole, "a.weight": { ...weight, shape: [ROWS * COLUMNS] } }, fp8, "no matrix"],
    ["scales in a checkpoint that is not quantised", whole, {}, "has scales"],
  ] as [string, Record<string, Tensor>, object, string][])("%s", async (_, tensors, config, message) => {
    const checkpoint = await open(tensors, config);
    const { shape } = checkpoint.info("a.weight");
    const found = await expectCode("QUANTISED_SCALES", () => expectWeight(checkpoint, "a.weight", shape));
    expect(found.message).toContain(message);
    await expectCode("QUANTISED_SCALES", () => readWeight(checkpoint, "a.weight"));
  });

  test("a NaN byte is found when it is read", async () => {
    const damaged = { ...weight, data: weight.data.with(7, 0x7f) };
    const checkpoint = await open({ ...whole, "a.weight": damaged });
    const error = await expectCode("QUANTISED_VALUE", () => readWeight(checkpoint, "a.weight"));
    expect(error.message).toContain('"a.weight", row 0, column 7: code 0x7f');
  });

  test.each([[[128]], [[0, 128]], [[128, 128, 1]], [["128", 128]]])("block size %j", async (block) => {
    const checkpoint = await open(whole, { quantization_config: { quant_method: "fp8", weight_block_size: block } });
    await expectCode("CONFIG_VALUE", () => readWeight(checkpoint, "a.weight"));
  });
});
