import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Rounding, roundingErrors } from "../../src/advise/rounding-error.js";
import { Checkpoint } from "../../src/checkpoint/checkpoint.js";
import { decode } from "../../src/checkpoint/dtypes.js";
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
function format(change: (value: number) => number, refusal: Rounding["refusal"] = () => undefined): Rounding<Tensor> {
  return {
    refusal,
    encode: (_, weight) => {
      const values = decode(weight).map(change);
      return { dtype: "F32", shape: weight.shape, data: new Uint8Array(values.buffer) };
    },
    decode: (stored) => stored,
  };
}

const measure = (formats: Record<string, Rounding<Tensor>>, count = 5, seed = 1) => {
  const opened = { checkpoint, model: describeModel(checkpoint.config, checkpoint) };
  return roundingErrors(opened, backend, new Map(Object.entries(formats)) as ReadonlyMap<string, Rounding>, {
    count,
    seed,
  });
};

test("errors of the three matrices are added, relative to their sizes", async () => {
  const found = await measure({
    exact: format((value) => value),
    larger: format((value) => 1.5 * value),
    nothing: format(() => 0),
    upAlone: format(
      (value) => value,
      ([rows, columns]) => (rows < columns ? "wide" : undefined),
    ),
  });
  expect(found.get("exact")).toEqual({ error: 0, standardError: 0 });
  expect(found.get("larger")!.error).toBeCloseTo(3 * 0.25, 12);
  expect(found.get("nothing")).toEqual({ error: 3, standardError: 0 });
  expect(found.has("upAlone")).toBe(false);
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
