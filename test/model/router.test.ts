import fc from "fast-check";
import { expect, test } from "vitest";
import { chooseExperts } from "../../src/model/router.js";

const router = (topK: number, normalise: boolean) => ({ weight: "", scores: "softmax", topK, normalise }) as const;

test("equal scores: the lower indices are chosen, listed in ascending order", () => {
  const { selected, weights } = chooseExperts(Float32Array.of(0.1, 0.3, 0.2, 0.3, 0.1), 5, router(3, true));
  expect(Array.from(selected)).toEqual([1, 2, 3]);
  expect(Array.from(weights)[1]).toBeCloseTo(0.25, 6);
  expect(Array.from(chooseExperts(new Float32Array(6).fill(0.5), 6, router(4, false)).selected)).toEqual([0, 1, 2, 3]);
});

test("no expert that was left out scores higher than one that was chosen", () => {
  const scores = fc.array(fc.float({ min: 0, max: 1, noNaN: true }), { minLength: 8, maxLength: 8 });
  fc.assert(
    fc.property(scores, fc.integer({ min: 1, max: 8 }), (values, topK) => {
      const { selected, weights } = chooseExperts(Float32Array.from(values), 8, router(topK, false));
      expect(new Set(selected).size).toBe(topK);
      const least = Math.min(...weights);
      for (const [e, score] of values.entries()) if (!selected.includes(e)) expect(score).toBeLessThanOrEqual(least);
    }),
  );
});
