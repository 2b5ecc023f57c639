import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Checkpoint } from "../../src/checkpoint/checkpoint.js";
import { createReferenceBackend } from "../../src/engine/reference/reference-backend.js";
import { type LastHidden, lastHidden, measureHeldOut } from "../../src/evaluate/held-out.js";
import { describeModel } from "../../src/model/describe.js";
import { forward, OutputHead } from "../../src/model/forward.js";
import { GOLDENS } from "../support/goldens.js";
import { writeSyntheticModel } from "../support/synthetic-model.js";

const backend = createReferenceBackend("f32");
const folder = mkdtempSync(join(tmpdir(), "ream-heldout-"));
const sizes = { layers: 1, hidden: 32, width: 8, experts: 4, topK: 2, vocabulary: 256 };
/** 2 sequences of 100 tokens, so that rows are computed in several pieces; the second ends in padding. */
const ids = Int32Array.from({ length: 200 }, (_, i) => (i * 37) % 256);
const mask = Uint8Array.from(ids, (_, i) => (i < 180 ? 1 : 0));
const batch = { sequences: 2, length: 100, ids, mask };

async function open(path: string): Promise<LastHidden> {
  const checkpoint = await Checkpoint.open(path);
  return lastHidden({ checkpoint, model: describeModel(checkpoint.config, checkpoint) }, backend, [batch]);
}

let original: LastHidden;
let other: LastHidden;
beforeAll(async () => {
  writeSyntheticModel(join(folder, "other"), sizes);
  original = await open(join(GOLDENS, "forward/qwen3_moe"));
  other = await open(join(folder, "other"));
});
afterAll(async () => {
  await original.open.checkpoint.close();
  await other.open.checkpoint.close();
  rmSync(folder, { recursive: true, force: true });
});

describe("measureHeldOut", () => {
  test("a model agrees with itself", async () => {
    const measure = await measureHeldOut(original, original, backend, [batch]);
    expect(measure).toMatchObject({ tokens: 99 + 79, agreement: 1, divergence: 0 });
  });

  test("loss, agreement and divergence are those of the definition", async () => {
    const measure = await measureHeldOut(original, other, backend, [batch]);
    const logits = await Promise.all(
      [original, other].map(async ({ open: { checkpoint, model } }) => {
        const [hidden] = await forward(checkpoint, model, backend, [batch]);
        return (await OutputHead.load(checkpoint, model, backend)).logits(hidden!);
      }),
    );
    let [loss, agreement, divergence, tokens] = [0, 0, 0, 0];
    for (let row = 0; row < 200; row++) {
      if (row === 99 || row >= 179) continue;
      const [p, q] = logits.map((values) => {
        const exponentials = Array.from(values.subarray(row * 256, (row + 1) * 256), Math.exp);
        const sum = exponentials.reduce((a, b) => a + b);
        return exponentials.map((value) => value / sum);
      }) as [number[], number[]];
      tokens++;
      loss -= Math.log(q[ids[row + 1]!]!);
      agreement += Number(p.indexOf(Math.max(...p)) === q.indexOf(Math.max(...q)));
      divergence += p.reduce((sum, value, i) => sum + value * Math.log(value / q[i]!), 0);
    }
    expect(measure.tokens).toBe(tokens);
    expect(measure.loss).toBeCloseTo(loss / tokens, 8);
    expect(measure.perplexity).toBeCloseTo(Math.exp(loss / tokens), 5);
    expect(measure.agreement).toBeCloseTo(agreement / tokens, 12);
    expect(measure.divergence).toBeCloseTo(divergence / tokens, 8);
  });

  test("another vocabulary, or nothing to predict, is a named error", async () => {
    const smaller = { ...other, open: { ...other.open, model: { ...other.open.model, vocabularySize: 128 } } };
    const code = (name: string) => expect.objectContaining({ code: name }) as Error;
    await expect(measureHeldOut(original, smaller, backend, [batch])).rejects.toThrow(code("VOCABULARY_DIFFERS"));
    await expect(measureHeldOut(original, original, backend, [])).rejects.toThrow(code("NOTHING_TO_PREDICT"));
  });
});

test("lastHidden ends when it is told to", async () => {
  const { checkpoint, model } = original.open;
  const stopped = lastHidden({ checkpoint, model }, backend, [batch], AbortSignal.abort());
  await expect(stopped).rejects.toMatchObject({ name: "AbortError" });
});
