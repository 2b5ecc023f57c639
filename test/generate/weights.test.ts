import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Checkpoint } from "../../src/checkpoint/checkpoint.js";
import type { Backend } from "../../src/engine/backend.js";
import { createReferenceBackend } from "../../src/engine/reference/reference-backend.js";
import { type LoadedLayer, residentWeights, streamedWeights } from "../../src/generate/weights.js";
import { describeModel } from "../../src/model/describe.js";

let checkpoint: Checkpoint;
beforeAll(async () => {
  checkpoint = await Checkpoint.open(join(import.meta.dirname, "../../demo/model"));
});
afterAll(() => checkpoint.close());

/** A backend that counts what it has made and what was given back. It fails to make the `failing`-th thing. */
function counting(failing = Number.POSITIVE_INFINITY) {
  const reference = createReferenceBackend("f32");
  const count = { made: 0, live: 0, mostLive: 0 };
  const track = <T extends { dispose(): void }>(made: T): T => {
    count.made += 1;
    if (count.made === failing) throw new Error("out of memory");
    count.live += 1;
    count.mostLive = Math.max(count.mostLive, count.live);
    let live = true;
    made.dispose = () => {
      if (live) count.live -= 1;
      live = false;
    };
    return made;
  };
  const backend: Backend = {
    ...reference,
    matrix: (weight) => track(reference.matrix(weight)),
    experts: (tensors, activation) => track(reference.experts(tensors, activation)),
  };
  return { count, source: { checkpoint, model: describeModel(checkpoint.config, checkpoint), backend } };
}

/** Four projections, the router and the experts. */
const PER_LAYER = 6;

async function pass(weights: { layers(): AsyncGenerator<LoadedLayer> }, stopAfter = Number.POSITIVE_INFINITY) {
  const seen: number[] = [];
  for await (const { layer } of weights.layers()) {
    seen.push(layer.description.index);
    if (seen.length === stopAfter) break;
  }
  return seen;
}

describe("streamed weights", () => {
  test("give the layers in order, two in memory at most, and none afterwards", async () => {
    const { count, source } = counting();
    const weights = streamedWeights(source);
    for await (const { layer } of weights.layers()) {
      // The next one is read meanwhile, and no further one.
      const expected = layer.description.index < 3 ? 2 : 1;
      await expect.poll(() => count.live).toBe(expected * PER_LAYER);
    }
    expect(await pass(weights)).toEqual([0, 1, 2, 3]);
    expect(count).toEqual({ made: 8 * PER_LAYER, live: 0, mostLive: 2 * PER_LAYER });
    expect(await pass(weights, 2)).toEqual([0, 1]);
    expect(count.live).toBe(0);
  });

  test.each([1, 5, 6, 13, 18])("leave nothing behind when thing %d cannot be made", async (failing) => {
    const { count, source } = counting(failing);
    await expect(pass(streamedWeights(source))).rejects.toThrow("out of memory");
    expect(count.live).toBe(0);
  });
});

describe("resident weights", () => {
  test("are made once", async () => {
    const { count, source } = counting();
    const weights = await residentWeights(source);
    for (let round = 0; round < 2; round++) expect(await pass(weights)).toEqual([0, 1, 2, 3]);
    expect(count.live).toBe(4 * PER_LAYER);
    weights.dispose();
    expect(count).toMatchObject({ made: 4 * PER_LAYER, live: 0 });
  });

  test.each([1, 6, 14])("leave nothing behind when thing %d cannot be made", async (failing) => {
    const { count, source } = counting(failing);
    await expect(residentWeights(source)).rejects.toThrow("out of memory");
    expect(count.live).toBe(0);
  });

  test("can be given up", async () => {
    const { count, source } = counting();
    await expect(residentWeights(source, AbortSignal.abort(new Error("enough")))).rejects.toThrow("enough");
    expect(count.live).toBe(0);
  });
});
