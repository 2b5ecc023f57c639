import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Rounding, roundingErrors } from "../../src/advise/rounding-error.js";
import { Checkpoint } from "../../src/checkpoint/checkpoint.js";
import { decode } from "../../src/checkpoint/dtypes.js";
import { weightFormat } from "../../src/checkpoint/quantised/formats.js";
import type { Tensor } from "../../src/checkpoint/tensor.js";
import { createReferenceBackend } from "../../src/engine/reference/reference-backend.js";
import { describeModel } from "../../src/model/describe.js";
import { GOLDENS } from "../support/goldens.js";

const backend = createReferenceBackend("f32");
let checkpoint: Checkpoint;
beforeAll(async () => {
  checkpoint = await Checkpoint.open(join(GOLDENS, "forward/qwen3_moe"));
});
afterAll(() => checkpoint.close());

/** A format that stores a function of each value. */
function format(change: (value: number) => number, refusal: Rounding["refusal"] = () => undefined): Rounding {
  return {
    refusal,
    encode: (_, weight) => {
      const values = decode(weight).map(change);
      const tensor: Tensor = { dtype: "F32", shape: weight.shape, data: new Uint8Array(values.buffer) };
      return new Map([["weight", tensor]]);
    },
    decode: (stored) => stored.get("weight")!,
  };
}

const measure = (formats: Record<string, Rounding>, count = 5, seed = 1) => {
  const opened = { checkpoint, model: describeModel(checkpoint.config, checkpoint) };
  return roundingErrors(opened, backend, new Map(Object.entries(formats)), {
    count,
    seed,
  });
};

test("errors of the three matrices are added, relative to their sizes", async () => {
  const found = await measure({
    exact: format((value) => value),
    larger: format((value) => 1.5 * value),
    nothing: format(() => 0),
    downAlone: format(
      () => 0,
      ([rows, columns]) => (rows < columns ? "wide" : undefined),
    ),
  });
  expect(found.get("exact")).toEqual({ error: 0, standardError: 0 });
  expect(found.get("larger")!.error).toBeCloseTo(3 * 0.25, 12);
  expect(found.get("nothing")).toEqual({ error: 3, standardError: 0 });
  // What is refused stays as it is.
  expect(found.get("downAlone")).toEqual({ error: 1, standardError: 0 });
});

test("the seed draws the experts; all of them are no sample", async () => {
  const coarse = { coarse: format((value) => Math.round(20 * value) / 20) };
  const once = await measure(coarse);
  expect(await measure(coarse)).toEqual(once);
  expect((await measure(coarse, 5, 2)).get("coarse")!.error).not.toBe(once.get("coarse")!.error);
  const { error, standardError } = once.get("coarse")!;
  expect(standardError).toBeGreaterThan(0);
  expect(standardError).toBeLessThan(error);
  expect((await measure(coarse, 1)).get("coarse")!.standardError).toBeUndefined();
  const all = (await measure(coarse, 1000)).get("coarse")!.error;
  expect((await measure(coarse, 1000, 2)).get("coarse")!.error).toBeCloseTo(all, 12);
});

test("formats: finer grids err less, and by what is known of uniform rounding", async () => {
  const names = ["int8", "fp8", "int4-g32", "int4-g32-asym"] as const;
  const found = await measure(Object.fromEntries(names.map((name) => [name, weightFormat(name)])), 16);
  const [int8, fp8, int4, asym] = names.map((name) => found.get(name)!.error);
  expect(int8!).toBeLessThan(fp8!);
  expect(fp8!).toBeLessThan(asym!);
  expect(asym!).toBeLessThan(int4!);
  // 4 bits, 32 normal values, the largest about 2 deviations: a step of 2 x 2 / 15, (step^2 / 12) for each of three matrices.
  expect(int4! / 3).toBeGreaterThan(0.003);
  expect(int4! / 3).toBeLessThan(0.012);
  // E4M3 has 3 bits behind the point: steps of 1/8 to 1/16 of the value.
  expect(fp8! / 3).toBeGreaterThan(1 / (12 * 16 ** 2));
  expect(fp8! / 3).toBeLessThan(1 / (12 * 8 ** 2));
});
