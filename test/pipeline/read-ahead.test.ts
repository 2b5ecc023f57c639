import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { Checkpoint } from "../../src/checkpoint/checkpoint.js";
import { describeModel } from "../../src/model/describe.js";
import { compress } from "../../src/pipeline/compress.js";
import { follow } from "../../src/pipeline/follow.js";
import { ReadAhead } from "../../src/pipeline/read-ahead.js";
import { GOLDENS } from "../support/goldens.js";

const folder = join(GOLDENS, "ream/qwen3_moe/model");

describe("the next layer", () => {
  let checkpoint: Checkpoint;
  beforeEach(async () => {
    checkpoint = await Checkpoint.open(folder);
  });
  afterEach(() => checkpoint.close());

  test("is read once, all of it", async () => {
    const touch = vi.spyOn(checkpoint, "touch");
    const ahead = new ReadAhead(checkpoint);
    const [, layer] = describeModel(checkpoint.config, checkpoint).layers;
    ahead.start(layer!);
    ahead.start(layer!);
    await ahead.end();
    expect(touch).toHaveBeenCalledTimes(1);
    const names = [...checkpoint.tensors.keys()].filter((name) => name.startsWith("model.layers.1."));
    expect(names.length).toBeGreaterThan(10);
    expect([...touch.mock.calls[0]![0]].sort()).toEqual(names.sort());
    await expect(touch.mock.results[0]!.value).resolves.toBeUndefined();
  });

  test("is not read where there is no memory for it", async () => {
    const touch = vi.spyOn(checkpoint, "touch");
    const [, layer] = describeModel(checkpoint.config, checkpoint).layers;
    new ReadAhead(checkpoint, () => 10_000).start(layer!);
    expect(touch).not.toHaveBeenCalled();
  });

  test("that cannot be read does not disturb the one at hand", async () => {
    vi.spyOn(checkpoint, "touch").mockRejectedValue(new Error("a bad sector"));
    const ahead = new ReadAhead(checkpoint);
    ahead.start(describeModel(checkpoint.config, checkpoint).layers[0]!);
    await expect(ahead.end()).resolves.toBeUndefined();
  });

  test("touching reads across the scratch", async () => {
    const [name] = [...checkpoint.tensors.keys()];
    await expect(checkpoint.touch([name!], new Uint8Array(7))).resolves.toBeUndefined();
  });
});

test("a run reads every layer but the first ahead", async () => {
  const touch = vi.spyOn(Checkpoint.prototype, "touch");
  const tokens = join(GOLDENS, "ream/qwen3_moe/calibration.safetensors");
  const { plan } = await follow(
    compress({ model: folder, tokens, experts: 12, groupSize: 4, dryRun: true }),
    () => undefined,
  );
  expect(touch).toHaveBeenCalledTimes(plan.layers.length - 1);
  touch.mockRestore();
});
