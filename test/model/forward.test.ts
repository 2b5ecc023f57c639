import { describe, expect, test } from "vitest";
import { BACKENDS } from "../support/backends.js";
import { forwardDeviation, generation } from "../support/forward-golden.js";
import { forwardCases } from "../support/goldens.js";

const CASES = forwardCases();

describe.each(Object.entries(BACKENDS))("%s backend", (_, create) => {
  test.each(CASES)("%s in float32 equals transformers", async (_name, folder) => {
    const deviation = await forwardDeviation(folder, create("f32"));
    expect(deviation.selected).toBe(0);
    expect(deviation.logits).toBeLessThan(2e-4);
    expect(deviation.hidden).toBeLessThan(2e-4);
    expect(deviation.input).toBeLessThan(2e-4);
    expect(deviation.output).toBeLessThan(2e-4);
    expect(deviation.routerLogits).toBeLessThan(1e-4);
    expect(deviation.weights).toBeLessThan(2e-5);
  });

  test.each(CASES)("%s generates the same tokens", async (_name, folder) => {
    const { ours, expected } = await generation(folder, create("f32"));
    expect(ours).toEqual(expected);
  });

  // Measured 0.04 and 0.08 (docs/goldens.md), of logits whose standard deviation is 2. Single tokens move further, where a
  // router near a tie chooses another expert.
  test.each(CASES)("%s in bfloat16 stays near float32", async (_name, folder) => {
    const deviation = await forwardDeviation(folder, create("bf16"));
    expect(deviation.logitsRootMeanSquare).toBeGreaterThan(1e-4);
    expect(deviation.logitsRootMeanSquare).toBeLessThan(0.15);
  });
});
