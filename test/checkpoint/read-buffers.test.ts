import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Checkpoint } from "../../src/checkpoint/checkpoint.js";
import { ReadBuffers } from "../../src/checkpoint/read-buffers.js";
import { GOLDENS } from "../support/goldens.js";

let checkpoint: Checkpoint;
beforeAll(async () => {
  checkpoint = await Checkpoint.open(join(GOLDENS, "ream/qwen3_moe/model"));
});
afterAll(() => checkpoint.close());

const first = "model.layers.0.mlp.experts.0.up_proj.weight";
const second = "model.layers.1.mlp.experts.0.up_proj.weight";

test("tensors are the same as without, until the buffers are reused", async () => {
  const buffers = new ReadBuffers();
  const view = checkpoint.readingInto(buffers);
  const [a, b] = [await view.read(first), await view.read(second)];
  expect(a).toEqual(await checkpoint.read(first));
  expect(b).toEqual(await checkpoint.read(second));
  expect(a.data.buffer).not.toBe(b.data.buffer);
  buffers.reuse();
  const again = await view.read(second);
  expect([a.data.buffer, b.data.buffer]).toContain(again.data.buffer);
  expect(again).toEqual(await checkpoint.read(second));
});

test("rows too, and the view reads what the checkpoint has", async () => {
  const view = checkpoint.readingInto(new ReadBuffers());
  expect(await view.readRows(first, 2, 5)).toEqual(await checkpoint.readRows(first, 2, 5));
  await expect(view.readRows(first, 5, 2)).rejects.toThrow(RangeError);
  await expect(view.read("nothing")).rejects.toMatchObject({ code: "TENSOR_MISSING" });
  expect(view.tensors).toBe(checkpoint.tensors);
});

test("what was not needed since is given up", () => {
  const buffers = new ReadBuffers();
  const [large, small] = [buffers.take(1000), buffers.take(10)];
  buffers.reuse();
  expect(buffers.take(10)).toBe(small);
  buffers.reuse();
  expect(buffers.take(1000)).not.toBe(large);
});
