import { expect, test } from "vitest";
import { resolveSettings } from "../../src/compress/settings.js";
import { rowCosines, similarity } from "../../src/compress/similarity.js";

// Two experts with orthogonal outputs whose router logits point the same way.
const inputs = { experts: 2, gateGram: Float64Array.of(4, 2, 2, 1), meanOutputs: Float64Array.of(1, 0, 0, 2) };

test("unit scale maps cosines to 0..1 and averages them", () => {
  const { gate, output, combined } = similarity(inputs, resolveSettings("ream"));
  expect(gate![1]).toBeCloseTo(1, 12);
  expect(output![1]).toBeCloseTo(0.5, 12);
  expect(combined[1]).toBeCloseTo(0.75, 12);
});

test("signed scale adds them (Eq. 7)", () => {
  const { combined } = similarity(
    { ...inputs, meanOutputs: undefined, tokenCosines: Float64Array.of(1, -0.5, -0.5, 1) },
    resolveSettings("ream-paper"),
  );
  expect(combined[1]).toBeCloseTo(0.5, 12);
});

test("distances of router logits are relative to the largest of the layer", () => {
  // Unit vectors at 0, 90 and 180 degrees: distances sqrt 2 and 2.
  const gateGram = Float64Array.of(1, 0, -1, 0, 1, 0, -1, 0, 1);
  const { gate } = similarity({ experts: 3, gateGram }, resolveSettings("ream-official", { outputSimilarity: "none" }));
  expect(gate![1]).toBeCloseTo(1 - Math.SQRT2 / 2, 12);
  expect(gate![2]).toBeCloseTo(0, 12);
});

test("a zero vector has cosine 0 with every other", () => {
  expect(Array.from(rowCosines(Float64Array.of(0, 0, 1, 0), 2))).toEqual([1, 0, 0, 1]);
});
