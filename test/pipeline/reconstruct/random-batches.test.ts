import { expect, test } from "vitest";
import type { ModelDescription } from "../../../src/model/description.js";
import { randomBatches, randomSequences } from "../../../src/pipeline/reconstruct/random-batches.js";

const feedForward = { kind: "moe", experts: { width: 64, hidden: 32 }, router: { topK: 4 } };
const model = { layers: [{ feedForward }], vocabularySize: 50 } as unknown as ModelDescription;
const text = { sequences: 400, length: 32 };
const plan = { random: 0.25, tokens: undefined, seed: 3 };

test("are as many as their share of the tokens that a refit looks at", () => {
  expect(randomSequences(plan, model, text)).toBe(100);
  expect(randomSequences({ ...plan, tokens: 1000 }, model, text)).toBe(8);
  // 65,536 tokens at most by default.
  expect(randomSequences(plan, model, { sequences: 8000, length: 32 })).toBe(512);
  expect(randomBatches({ ...plan, random: 0 }, model, text)).toEqual([]);
});

test("are whole sequences of the text's length, of all tokens about as often, the same ones for a seed", () => {
  const batches = randomBatches(plan, model, { sequences: 400, length: 128 });
  expect(batches.map(({ sequences, length }) => [sequences, length])).toEqual([...Array(3).fill([32, 128]), [4, 128]]);
  const counts = new Int32Array(50);
  for (const { ids } of batches) for (const id of ids) counts[id]!++;
  // 256 of each in the mean, with a standard deviation of 16.
  expect(Math.min(...counts)).toBeGreaterThan(170);
  expect(Math.max(...counts)).toBeLessThan(350);
  expect(randomBatches(plan, model, { sequences: 400, length: 128 })).toEqual(batches);
  expect(randomBatches({ ...plan, seed: 4 }, model, { sequences: 400, length: 128 })).not.toEqual(batches);
});
