import { join } from "node:path";
import { expect, test } from "vitest";
import { WEIGHT_FORMAT_NAMES } from "../../src/checkpoint/quantised/weight-format.js";
import { createNativeBackend } from "../../src/engine/native/native-backend.js";
import { forward, OutputHead } from "../../src/model/forward.js";
import { inspect } from "../../src/pipeline/inspect.js";
import { openModel } from "../../src/pipeline/open-model.js";
import { temporaryFolder } from "../checkpoint/support.js";
import { writeQuantised } from "../support/quantised-model.js";
import { writeSyntheticModel } from "../support/synthetic-model.js";

const SIZES = { layers: 2, hidden: 128, width: 256, experts: 4, topK: 2, vocabulary: 50 };
const batch = { sequences: 1, length: 12, ids: Int32Array.from({ length: 12 }, (_, i) => (7 * i) % 50) };
const backend = createNativeBackend({ precision: "f32", threads: 2 });

async function run(folder: string): Promise<{ logits: Float32Array; parameters: number; bytes: number }> {
  const opened = await openModel(folder);
  const [hidden] = await forward(opened.checkpoint, opened.model, backend, [batch]);
  const head = await OutputHead.load(opened.checkpoint, opened.model, backend);
  const logits = head.logits(hidden!);
  head.dispose();
  await opened.checkpoint.close();
  const { parameters, where } = await inspect(folder);
  return { logits, parameters, bytes: where.routedExperts };
}

test.each(WEIGHT_FORMAT_NAMES)("a model in %s computes what its decoded weights compute", async (name) => {
  const folder = await temporaryFolder();
  writeSyntheticModel(join(folder, "source"), SIZES);
  const ignored = await writeQuantised(join(folder, "source"), folder, name, backend);
  // The output projection has 64 columns, fewer than a group of 128.
  expect(ignored.filter((module) => module.endsWith("o_proj"))).toHaveLength(name.includes("g128") ? 2 : 0);
  const quantised = await run(join(folder, "quantised"));
  const decoded = await run(join(folder, "decoded"));
  const source = await run(join(folder, "source"));
  expect(quantised.logits).toEqual(decoded.logits);
  expect(quantised.parameters).toBe(source.parameters);
  expect(quantised.bytes / source.bytes).toBeLessThan(name.includes("4") ? 0.36 : 0.52);
  expect(quantised.logits).not.toEqual(source.logits);
});
