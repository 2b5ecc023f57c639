import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Checkpoint } from "../../src/checkpoint/checkpoint.js";
import { createNativeBackend } from "../../src/engine/native/native-backend.js";
import { describeModel } from "../../src/model/describe.js";
import { embed } from "../../src/model/embedding.js";
import { EmbeddingRows } from "../../src/model/embedding-rows.js";
import { OutputHead } from "../../src/model/forward.js";
import { Random } from "../../src/random.js";

let checkpoint: Checkpoint;
beforeAll(async () => {
  checkpoint = await Checkpoint.open(join(import.meta.dirname, "../../demo/model"));
});
afterAll(() => checkpoint.close());

test("rows are those of the whole table, however many are kept", async () => {
  const model = describeModel(checkpoint.config, checkpoint);
  const few = new EmbeddingRows(checkpoint, model, 5 * 4 * model.hiddenSize);
  await fc.assert(
    fc.asyncProperty(fc.array(fc.integer({ min: 0, max: 1023 }), { minLength: 1, maxLength: 30 }), async (ids) => {
      const [expected] = await embed(checkpoint, model, [
        { sequences: 1, length: ids.length, ids: Int32Array.from(ids) },
      ]);
      expect(await few.embed(ids)).toEqual(expected);
    }),
    { numRuns: 30 },
  );
});

test("rows that were read are not read again", async () => {
  const model = describeModel(checkpoint.config, checkpoint);
  let reads = 0;
  const counted = Object.create(checkpoint) as Checkpoint;
  counted.readRows = (name, begin, end) => {
    reads += 1;
    return checkpoint.readRows(name, begin, end);
  };
  const rows = new EmbeddingRows(counted, model);
  await rows.embed([4, 5, 9, 4]);
  expect(reads).toBe(2);
  await rows.embed([9, 5, 4]);
  expect(reads).toBe(2);
});

test("an output matrix that is read in parts gives the same logits", async () => {
  const model = describeModel(checkpoint.config, checkpoint);
  const backend = createNativeBackend({ precision: "bf16" });
  const random = new Random(2);
  const hidden = Float32Array.from({ length: 3 * model.hiddenSize }, () => random.normal());
  const whole = await OutputHead.load(checkpoint, model, backend);
  const parts = await OutputHead.load(checkpoint, model, backend, 100 * 2 * model.hiddenSize);
  expect(parts.logits(hidden)).toEqual(whole.logits(hidden));
  whole.dispose();
  parts.dispose();
});
