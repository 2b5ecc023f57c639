import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { encodeSafetensors } from "../../src/checkpoint/safetensors-encode.js";
import { Random } from "../../src/random.js";
import { ream } from "../support/command.js";
import { writeSyntheticModel } from "../support/synthetic-model.js";

const folder = mkdtempSync(join(tmpdir(), "ream-memory-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const MIB = 1024 * 1024;
const sizes = { hidden: 512, width: 1024, experts: 21, topK: 4, vocabulary: 256 };

/** Peak resident memory in bytes of compressing a model with so many layers. */
async function peakMemory(layers: number): Promise<number> {
  const model = join(folder, `model-${layers}`);
  const layerBytes = writeSyntheticModel(model, { ...sizes, layers });
  expect(layerBytes).toBeGreaterThan(62 * MIB);
  const random = new Random(layers);
  const ids = Int32Array.from({ length: 8 * 64 }, () => random.below(sizes.vocabulary));
  const tokens = join(folder, "tokens.safetensors");
  writeFileSync(
    tokens,
    encodeSafetensors(new Map([["input_ids", { dtype: "I32", shape: [8, 64], data: new Uint8Array(ids.buffer) }]])),
  );
  const out = join(folder, `out-${layers}`);
  const outcome = await ream([
    "compress",
    model,
    "--out",
    out,
    "--experts",
    "16",
    "--tokens",
    tokens,
    "--backend",
    "native",
    "--json",
  ]);
  expect(outcome.stderr + outcome.code).toMatch(/0$/);
  rmSync(model, { recursive: true });
  rmSync(out, { recursive: true });
  return (JSON.parse(outcome.stdout) as { peakMemory: number }).peakMemory;
}

test("24 layers of 64 MB need at most 400 MB more than 2", async () => {
  const [few, many] = [await peakMemory(2), await peakMemory(24)];
  expect(many - few).toBeLessThan(400 * MIB);
}, 600_000);
