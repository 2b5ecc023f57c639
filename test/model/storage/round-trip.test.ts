import { join } from "node:path";
import fc from "fast-check";
import { expect, test } from "vitest";
import type { Checkpoint } from "../../../src/checkpoint/checkpoint.js";
import { tensorBytes } from "../../../src/checkpoint/safetensors-encode.js";
import type { DType, Tensor } from "../../../src/checkpoint/tensor.js";
import { type ExpertStorage, separateExperts } from "../../../src/model/expert-storage.js";
import { blockExperts } from "../../../src/model/storage/blocks.js";
import { stackedExperts } from "../../../src/model/storage/stacked.js";
import { Random } from "../../../src/random.js";
import { temporaryFolder } from "../../checkpoint/support.js";
import { madeCheckpoint, randomBytes } from "../../support/made-checkpoint.js";

interface Sizes {
  readonly count: number;
  readonly width: number;
  readonly hidden: number;
}

type Layout = (
  sizes: Sizes,
  random: Random,
  dtype: DType,
) => { storage: ExpertStorage; tensors: Record<string, Tensor> };

function stacked(layout: "rows" | "columns", interleaved: boolean, biases: boolean): Layout {
  return ({ count, width, hidden }, random, dtype) => {
    const matrix = (rows: number, columns: number) =>
      randomBytes(random, dtype, count, ...(layout === "rows" ? [rows, columns] : [columns, rows]));
    const names = {
      gateUp: "gate_up",
      down: "down",
      ...(biases && { gateUpBias: "gate_up_bias", downBias: "down_bias" }),
    };
    return {
      storage: stackedExperts({ count, width, hidden, layout, interleaved, ...names }),
      tensors: {
        gate_up: matrix(2 * width, hidden),
        down: matrix(hidden, width),
        ...(biases && {
          gate_up_bias: randomBytes(random, dtype, count, 2 * width),
          down_bias: randomBytes(random, dtype, count, hidden),
        }),
      },
    };
  };
}

const LAYOUTS: Record<string, Layout> = {
  separate: ({ count, width, hidden }, random, dtype) => ({
    storage: separateExperts({ count, width, hidden, name: (expert, part) => `${expert}.${part}` }),
    tensors: Object.fromEntries(
      Array.from({ length: count }, (_, e) => [
        [`${e}.gate`, randomBytes(random, dtype, width, hidden)],
        [`${e}.up`, randomBytes(random, dtype, width, hidden)],
        [`${e}.down`, randomBytes(random, dtype, hidden, width)],
      ]).flat() as [string, Tensor][],
    ),
  }),
  "separate, without gates": ({ count, width, hidden }, random, dtype) => ({
    storage: separateExperts({ count, width, hidden, name: (expert, part) => `${expert}.${part}`, gated: false }),
    tensors: Object.fromEntries(
      Array.from({ length: count }, (_, e) => [
        [`${e}.up`, randomBytes(random, dtype, width, hidden)],
        [`${e}.down`, randomBytes(random, dtype, hidden, width)],
      ]).flat() as [string, Tensor][],
    ),
  }),
  "blocks of rows": ({ count, width, hidden }, random, dtype) => ({
    storage: blockExperts({ count, width, hidden, names: { gate: "w1", up: "v1", down: "w2" } }),
    tensors: Object.fromEntries(
      ["w1", "v1", "w2"].map((name) => [name, randomBytes(random, dtype, count * width, hidden)]),
    ),
  }),
  "rows, gate first": stacked("rows", false, false),
  "rows, interleaved, biases": stacked("rows", true, true),
  "columns, gate first": stacked("columns", false, false),
  "columns, gate first, biases": stacked("columns", false, true),
  "columns, interleaved, biases": stacked("columns", true, true),
};

/** The bytes of all outputs for some kept experts, none of which is changed. */
async function written(storage: ExpertStorage, checkpoint: Checkpoint, kept: readonly number[]) {
  const tensors: Record<string, Tensor> = {};
  for (const output of storage.outputs(kept.length)) {
    const parts: Uint8Array[] = [];
    for (const slot of output.slots) parts.push(output.tensor(await storage.read(checkpoint, kept[slot]!)).data);
    const { dtype } = checkpoint.info(output.source);
    const data = new Uint8Array(Buffer.concat(parts));
    expect(data.length).toBe(tensorBytes({ dtype, shape: output.shape }));
    tensors[output.name] = { dtype: dtype as DType, shape: output.shape, data };
  }
  return tensors;
}

const cases = fc.record({
  seed: fc.nat(),
  count: fc.integer({ min: 1, max: 5 }),
  width: fc.integer({ min: 1, max: 9 }),
  hidden: fc.integer({ min: 1, max: 70 }),
  dtype: fc.constantFrom<DType>("BF16", "F16", "F32", "F64"),
});

test.each(Object.entries(LAYOUTS))(
  "%s: what is read and written without a change has the same bytes",
  async (_, make) => {
    const folder = await temporaryFolder();
    let run = 0;
    await fc.assert(
      fc.asyncProperty(cases, async ({ seed, dtype, ...sizes }) => {
        const { storage, tensors } = make(sizes, new Random(seed), dtype);
        const checkpoint = await madeCheckpoint(join(folder, `${run++}`), tensors);
        storage.check(checkpoint);
        expect([...storage.names].sort()).toEqual(Object.keys(tensors).sort());
        const all = Array.from({ length: sizes.count }, (_, e) => e);
        expect(await written(storage, checkpoint, all)).toEqual(tensors);
        // Some experts, in another order: a checkpoint of the same layout, from which they are read as they were.
        const kept = all.reverse().slice(0, Math.ceil(sizes.count / 2));
        const fewer = make({ ...sizes, count: kept.length }, new Random(0), dtype).storage;
        const cut = await madeCheckpoint(join(folder, `${run++}`), await written(storage, checkpoint, kept));
        fewer.check(cut);
        for (const [slot, expert] of kept.entries()) {
          expect(await fewer.read(cut, slot)).toEqual(await storage.read(checkpoint, expert));
        }
      }),
      { numRuns: 25 },
    );
  },
);
