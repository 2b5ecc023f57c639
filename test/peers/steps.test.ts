import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, test } from "vitest";
import { encodeSafetensors } from "../../src/checkpoint/safetensors-encode.js";
import { forwardTensors } from "../../src/cli/forward-tensors.js";
import { compress } from "../../src/pipeline/compress.js";
import { follow } from "../../src/pipeline/follow.js";
import { openModel } from "../../src/pipeline/open-model.js";
import { Random } from "../../src/random.js";
import { BACKENDS } from "../support/backends.js";
import { writeSyntheticModel } from "../support/synthetic-model.js";

const here = fileURLToPath(new URL(".", import.meta.url));
const python = join(here, "../../.peers/bin/python");
const folder = mkdtempSync(join(tmpdir(), "ream-peers-steps-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Steps, and who decodes them: transformers 5.23 cannot decode the last ones inside the experts that it joins. */
const CASES: readonly (readonly [steps: string, how: "transformers" | "bfloat16" | "decompressed"])[] = [
  ["int8", "transformers"],
  ["int4-channel", "transformers"],
  ["int4-g32", "transformers"],
  ["int4-g128", "transformers"],
  ["fp8", "transformers"],
  ["mxfp4", "bfloat16"],
  ["gptq:int8", "transformers"],
  ["gptq:int4-g32", "transformers"],
  ["wanda:2:4,int8", "transformers"],
  ["sparsegpt:0.5", "transformers"],
  ["int4-g32-asym", "decompressed"],
  ["int4-g128-asym", "decompressed"],
  ["gptq:int4-g32-asym", "decompressed"],
  ["fp8-block", "decompressed"],
  ["nvfp4", "decompressed"],
];

// Skipped, and counted as skipped, where the Python peers are not installed (test/peers/README.md).
describe.skipIf(!existsSync(python))("quantised and pruned checkpoints", () => {
  test("load in transformers, which computes our logits", async () => {
    const model = join(folder, "model");
    writeSyntheticModel(model, { layers: 2, hidden: 128, width: 128, experts: 8, topK: 2, vocabulary: 256 });
    const random = new Random(3);
    const ids = (count: number) => Int32Array.from({ length: count }, () => random.below(256));
    const tokens = join(folder, "tokens.safetensors");
    const calibration = { dtype: "I32", shape: [16, 32], data: new Uint8Array(ids(16 * 32).buffer) } as const;
    writeFileSync(tokens, encodeSafetensors(new Map([["input_ids", calibration]])));
    const first = { sequences: 2, length: 24, ids: ids(48) };
    const list: [string, string, string][] = [];
    for (const [steps, how] of CASES) {
      const out = join(folder, steps.replaceAll(/[:,]/g, "-"));
      const merged = steps.startsWith("int4") ? { experts: 6, method: "ream" as const } : {};
      const common = { model, out, tokens, precision: "f32", activations: "none" } as const;
      await follow(compress({ ...common, then: [steps], ...merged }), () => undefined);
      const made = await openModel(out);
      const logits = await forwardTensors(made.checkpoint, made.model, BACKENDS.native!("f32"), {
        first,
        second: undefined,
      });
      await made.checkpoint.close();
      writeFileSync(`${out}.safetensors`, encodeSafetensors(logits));
      list.push([out, `${out}.safetensors`, how]);
    }
    writeFileSync(join(folder, "list.json"), JSON.stringify(list));
    const found = JSON.parse(
      execFileSync(python, [join(here, "steps_check.py"), join(folder, "list.json")], {
        encoding: "utf8",
        stdio: ["ignore", "pipe", "inherit"],
        maxBuffer: 2 ** 26,
      }),
    ) as { logits: number; spread: number; unmatched: string[] }[];
    const wrong = CASES.flatMap(([steps, how], i) => {
      const { logits, spread, unmatched } = found[i]!;
      // Loaded in float32, transformers does not round values to bfloat16, as compressed-tensors does and we do.
      const tolerance = { bfloat16: 0.05, transformers: 0.02, decompressed: 1e-3 }[how];
      return unmatched.length === 0 && logits < tolerance * spread ? [] : [{ steps, ...found[i]! }];
    });
    expect(wrong).toEqual([]);
    expect(found).toHaveLength(CASES.length);
  }, 600_000);
});
