import { describe, expect, test } from "vitest";
import { decode, encode } from "../../../src/checkpoint/dtypes.js";
import type { DType, Tensor } from "../../../src/checkpoint/tensor.js";
import { createNativeBackend } from "../../../src/engine/native/native-backend.js";
import { createReferenceBackend } from "../../../src/engine/reference/reference-backend.js";
import { Random } from "../../../src/random.js";
import { halfSteps } from "../../support/half-steps.js";
import { SCHEMES } from "../../support/quantised-model.js";

const SHAPE = [48, 256] as const;
const backends = [createNativeBackend({ precision: "f32", threads: 2 }), createReferenceBackend("f32")];

/** Rows of zeros, of positive numbers alone, of numbers of different sizes. */
function weight(): Tensor {
  const random = new Random(5);
  const values = Float32Array.from({ length: SHAPE[0] * SHAPE[1] }, (_, i) => {
    const row = Math.floor(i / SHAPE[1]);
    if (row === 1) return 0;
    const value = random.normal() * 10 ** (row % 4);
    return row === 2 ? Math.abs(value) : value;
  });
  return { dtype: "F32", shape: SHAPE, data: encode("F32", values) };
}

describe.each(Object.entries(SCHEMES))("%s", (_, { storage }) => {
  test.each(["BF16", "F16", "F32"] as DType[])("values are rounded to the nearest, with scales in %s", (scaleDtype) => {
    const [native, reference] = backends.map((backend) => storage.encode(backend, weight(), scaleDtype));
    expect([...native!.keys()]).toEqual(storage.stored(SHAPE, scaleDtype).map(({ suffix }) => suffix));
    for (const { suffix, dtype, shape } of storage.stored(SHAPE, scaleDtype)) {
      const part = native!.get(suffix)!;
      expect([suffix, part.dtype, part.shape]).toEqual([suffix, dtype, shape]);
      expect(Buffer.compare(part.data, reference!.get(suffix)!.data), suffix).toBe(0);
    }
    const steps = halfSteps(storage, native!, SHAPE);
    const values = decode(weight());
    const rounded = decode(storage.decode(native!, SHAPE));
    const over = rounded.findIndex((value, i) => Math.abs(value - values[i]!) > steps[i]! * 1.0001);
    expect([over, rounded[over], values[over], steps[over]]).toEqual([-1, undefined, undefined, undefined]);
  });
});
