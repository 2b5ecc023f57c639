import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Checkpoint } from "../../src/checkpoint/checkpoint.js";
import { checkTensors, describeModel } from "../../src/model/describe.js";
import { forward, OutputHead } from "../../src/model/forward.js";
import { BACKENDS } from "../support/backends.js";
import { largestDifference, readTensors } from "../support/goldens.js";

const here = fileURLToPath(new URL(".", import.meta.url));
const python = join(here, "../../.peers/bin/python");
const folder = mkdtempSync(join(tmpdir(), "ream-demo-training-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

// Skipped, and counted as skipped, where the Python peers are not installed (test/peers/README.md).
describe.skipIf(!existsSync(python))("what demo/train.py trains", () => {
  beforeAll(() => {
    execFileSync(python, [join(here, "demo_training.py"), folder], { stdio: ["ignore", "ignore", "pipe"] });
  }, 300_000);

  test.each(["qwen3_moe", "glm4_moe"])("%s is the model that transformers and ream read", async (family) => {
    const tensors = await readTensors(join(folder, `${family}.safetensors`));
    const trained = tensors.get("trained")!.values;
    expect(largestDifference(trained, tensors.get("logits")!.values)).toBeLessThan(2e-4);
    const checkpoint = await Checkpoint.open(join(folder, family));
    const model = describeModel(checkpoint.config, checkpoint);
    checkTensors(checkpoint, model);
    const backend = BACKENDS.native!("f32");
    const ids = tensors.get("input_ids")!;
    const [sequences, length] = ids.shape as [number, number];
    const [hidden] = await forward(checkpoint, model, backend, [
      { sequences, length, ids: Int32Array.from(ids.values) },
    ]);
    const head = await OutputHead.load(checkpoint, model, backend);
    expect(largestDifference(head.logits(hidden!), trained)).toBeLessThan(2e-4);
    head.dispose();
    await checkpoint.close();
  });
});
