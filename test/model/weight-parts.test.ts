import { describe, expect, test } from "vitest";
import { decode, encode } from "../../src/checkpoint/dtypes.js";
import { weightFormat } from "../../src/checkpoint/quantised/formats.js";
import { quantizationConfig } from "../../src/checkpoint/quantised/quantization-config.js";
import type { Tensor } from "../../src/checkpoint/tensor.js";
import { createReferenceBackend } from "../../src/engine/reference/reference-backend.js";
import { expectWeight, readWeight, weightBytes, weightNumbers } from "../../src/model/read-weight.js";
import { Random } from "../../src/random.js";
import { expectCode, temporaryFolder } from "../checkpoint/support.js";
import { madeCheckpoint, randomBytes } from "../support/made-checkpoint.js";

const SHAPE = [20, 64] as const;
const format = weightFormat("int4-g32-asym");
const values = Float32Array.from({ length: 20 * 64 }, (_, i) => Math.sin(i));
const weight: Tensor = { dtype: "BF16", shape: SHAPE, data: encode("BF16", values) };
const parts = format.encode(createReferenceBackend("f32"), weight, "BF16");
const whole = Object.fromEntries([...parts].map(([suffix, tensor]) => [`a.${suffix}`, tensor]));
const config = { quantization_config: quantizationConfig(format, ["plain", "re:ignored.*"]) };

const open = async (tensors: Record<string, Tensor>) => madeCheckpoint(await temporaryFolder(), tensors, config);

describe("weights in parts", () => {
  test("are read whole and by rows, and counted without their scales", async () => {
    const checkpoint = await open(whole);
    expectWeight(checkpoint, "a.weight", SHAPE);
    const expected = format.decode(parts, SHAPE);
    expect(await readWeight(checkpoint, "a.weight")).toEqual(expected);
    const rows = await readWeight(checkpoint, "a.weight", [5, 13]);
    expect(rows.shape).toEqual([8, 64]);
    expect(decode(rows)).toEqual(decode(expected).subarray(5 * 64, 13 * 64));
    expect(weightNumbers(checkpoint, "a.weight")).toBe(20 * 64);
    // Codes, scales, zero points of 20 rows in 3 words, the shape.
    expect(weightBytes(checkpoint, "a.weight")).toBe(640 + 2 * 40 + 4 * 3 * 2 + 16);
  });

  test("stand beside plain ones", async () => {
    const checkpoint = await open({ ...whole, "plain.weight": weight, "b.weight": weight });
    for (const name of ["plain", "b"]) {
      expectWeight(checkpoint, `${name}.weight`, SHAPE);
      expect(await readWeight(checkpoint, `${name}.weight`)).toEqual(weight);
    }
  });

  const { "a.weight_scale": scales, "a.weight_packed": packed, ...rest } = whole;
  const shape = (...sizes: number[]): Tensor => ({
    dtype: "I64",
    shape: [sizes.length],
    data: encode("I64", Float32Array.from(sizes)),
  });
  test.each([
    ["no codes", { ...rest, "a.weight_scale": scales! }, "has no weight_packed"],
    ["no scales", { ...rest, "a.weight_packed": packed! }, "has no weight_scale"],
    [
      "no zero points",
      { "a.weight_packed": packed!, "a.weight_scale": scales!, "a.weight_shape": shape(20, 64) },
      "has no weight_zero_point",
    ],
    [
      "fewer codes",
      { ...whole, "a.weight_packed": randomBytes(new Random(1), "I32", 20, 7) },
      "is I32 [20, 7], expected I32 [20, 8]",
    ],
    [
      "codes of bytes",
      { ...whole, "a.weight_packed": randomBytes(new Random(1), "U8", 20, 8) },
      "is U8 [20, 8], expected I32",
    ],
    [
      "scales of integers",
      { ...whole, "a.weight_scale": randomBytes(new Random(1), "U8", 20, 2) },
      "is U8 [20, 2], expected BF16",
    ],
    [
      "a scale for each row",
      { ...whole, "a.weight_scale": randomBytes(new Random(1), "BF16", 20, 1) },
      "expected BF16 [20, 2]",
    ],
  ] as [string, Record<string, Tensor>, string][])(
    "%s: a named error before it is read",
    async (_, tensors, message) => {
      const checkpoint = await open(tensors);
      const error = await expectCode("QUANTISED_PARTS", () => expectWeight(checkpoint, "a.weight", SHAPE));
      expect(error.message).toContain(message);
      await expectCode("QUANTISED_PARTS", () => readWeight(checkpoint, "a.weight"));
    },
  );

  test.each([
    ["another shape", [20, 96], /expected/],
    ["columns that are no groups", [20, 60], /no multiple of the group of 32/],
    ["a vector", [1280], /no matrix/],
  ])("%s than the model has", async (_, expected, message) => {
    const checkpoint = await open(whole);
    const error = await expectCode("QUANTISED_PARTS", () => expectWeight(checkpoint, "a.weight", expected));
    expect(error.message).toMatch(message);
  });

  test.each([
    ["other rows", shape(21, 64)],
    ["one axis", shape(20)],
    ["nothing", shape(0, 64)],
  ])("weight_shape with %s is found when it is read", async (_, said) => {
    const checkpoint = await open({ ...whole, "a.weight_shape": said });
    await expectCode("QUANTISED_PARTS", () => readWeight(checkpoint, "a.weight"));
  });

  test("a module that the config calls plain has no scales, one without scales no integers", async () => {
    const ignored = Object.fromEntries([...parts].map(([suffix, tensor]) => [`ignored.b.${suffix}`, tensor]));
    const checkpoint = await open({ ...ignored, "c.weight": randomBytes(new Random(1), "I8", ...SHAPE) });
    const one = await expectCode("QUANTISED_PARTS", () => expectWeight(checkpoint, "ignored.b.weight", SHAPE));
    expect(one.message).toContain("the config says that it is not quantised");
    const other = await expectCode("QUANTISED_PARTS", () => expectWeight(checkpoint, "c.weight", SHAPE));
    expect(other.message).toContain("is I8 and has no scales");
  });

  test("a scale that is no number is told with the name and the row", async () => {
    const damaged = { ...scales!, data: scales!.data.with(10 * 4 + 1, 0x7f).with(10 * 4, 0x80) };
    const checkpoint = await open({ ...whole, "a.weight_scale": damaged });
    const error = await expectCode("QUANTISED_VALUE", () => readWeight(checkpoint, "a.weight"));
    expect(error.message).toMatch(/^"a": code and scale of row 10, column \d+/);
  });
});
