import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Checkpoint } from "../../src/checkpoint/checkpoint.js";
import { generate } from "../../src/generate/generate-tokens.js";
import { checkTensors, describeModel } from "../../src/model/describe.js";
import { forward, OutputHead } from "../../src/model/forward.js";
import { BACKENDS } from "../support/backends.js";
import { largestDifference, readTensors } from "../support/goldens.js";

const here = fileURLToPath(new URL(".", import.meta.url));
const python = join(here, "../../.peers/bin/python");
const folder = mkdtempSync(join(tmpdir(), "ream-models-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Tokens of the prompt that is continued, and how many are added. */
const [PROMPT, ADDED] = [9, 8];

// Skipped, and counted as skipped, where the Python peers are not installed (test/peers/README.md).
describe.skipIf(!existsSync(python))("random models of many configurations", () => {
  beforeAll(() => {
    for (const script of ["make_models.py", "make_family_models.py"])
      execFileSync(python, [join(here, script), folder], { stdio: ["ignore", "ignore", "pipe"] });
  }, 600_000);

  test.each(Object.entries(BACKENDS))(
    "%s backend computes what transformers computes",
    async (_, create) => {
      const backend = create("f32");
      const names = readdirSync(folder).filter((name) => !name.endsWith(".safetensors"));
      expect(names.length).toBeGreaterThanOrEqual(127);
      const wrong: Record<string, unknown> = {};
      for (const name of names) {
        const expected = await readTensors(join(folder, `${name}.safetensors`));
        const ids = expected.get("input_ids")!;
        const sequences = ids.shape[0]!;
        const checkpoint = await Checkpoint.open(join(folder, name));
        try {
          const model = describeModel(checkpoint.config, checkpoint);
          checkTensors(checkpoint, model);
          const logits = async (tokens: Int32Array, rows: number) => {
            const batch = { sequences: rows, length: tokens.length / rows, ids: tokens };
            const [hidden] = await forward(checkpoint, model, backend, [batch]);
            const head = await OutputHead.load(checkpoint, model, backend);
            const result = head.logits(hidden!);
            head.dispose();
            return result;
          };
          const all = Int32Array.from(ids.values);
          const deviation = largestDifference(await logits(all, sequences), expected.get("logits")!.values);
          if (!(deviation < 2e-4)) wrong[name] = deviation;
          if (model.maxPositions < PROMPT + ADDED) continue;
          // Greedy tokens with caches and states are those of whole passes, which the lines above have checked.
          const prompt = [...all.subarray(0, PROMPT)];
          const answer = await generate(checkpoint, model, backend, prompt, ADDED);
          const whole = await logits(Int32Array.from([...prompt, ...answer]), 1);
          const places = answer.map((_, i) =>
            whole.subarray((PROMPT + i - 1) * model.vocabularySize, (PROMPT + i) * model.vocabularySize),
          );
          const worst = Math.max(...places.map((row, i) => Math.max(...row) - row[answer[i]!]!));
          if (!(worst < 1e-3)) wrong[`${name} generation`] = worst;
        } finally {
          await checkpoint.close();
        }
      }
      expect(wrong).toEqual({});
    },
    600_000,
  );
});
