import { execFileSync } from "node:child_process";
import { cpSync, existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, test } from "vitest";
import { encodeSafetensors } from "../../src/checkpoint/safetensors-encode.js";
import { forwardTensors } from "../../src/cli/forward-tensors.js";
import { expertLimits } from "../../src/pipeline/check-experts.js";
import { compress } from "../../src/pipeline/compress.js";
import { openModel } from "../../src/pipeline/open-model.js";
import { Random } from "../../src/random.js";
import { BACKENDS } from "../support/backends.js";
import { forwardCases } from "../support/goldens.js";

const here = fileURLToPath(new URL(".", import.meta.url));
const python = join(here, "../../.peers/bin/python");
const folder = mkdtempSync(join(tmpdir(), "ream-families-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** transformers 5.23 decodes FP8 experts with partial blocks wrongly; with whole ones: compressed-tensors.test.ts. */
const CASES = forwardCases().filter(([name]) => !name.includes("-fp8"));
/** Families without a golden: random models that make_family_models.py makes. */
const MADE = [
  "jetmoe.three",
  "cohere2_moe.sigmoid",
  "solar_open.ordinary",
  "granitemoeshared.shared",
  "glm_moe_dsa.shared",
  "qwen3_omni_moe.ordinary",
  "kimi_k25.groups",
  "mistral3.ordinary",
  "internvl.ordinary",
  "mellum.windows",
  "granitemoe_swa.angles",
  "axk1.groups",
  "nemotron_h.latent",
  "granitemoehybrid.rope",
  "kimi_linear.ordinary",
];
/** Tokens that every one of them knows. */
const VOCABULARY = 80;
const METHODS = ["ream", "reap"] as const;

function randomTokens(seed: number, sequences: number, length: number): Int32Array {
  const random = new Random(seed);
  return Int32Array.from({ length: sequences * length }, () => random.below(VOCABULARY));
}

function writeTokens(path: string, ids: Int32Array, sequences: number): void {
  const data = new Uint8Array(ids.buffer);
  const tensor = { dtype: "I32", shape: [sequences, ids.length / sequences], data } as const;
  writeFileSync(path, encodeSafetensors(new Map([["input_ids", tensor]])));
}

async function compressTo(
  model: string,
  out: string,
  method: (typeof METHODS)[number],
  experts: number,
): Promise<void> {
  const run = compress({
    model,
    out,
    method,
    experts,
    tokens: join(folder, "calibration.safetensors"),
    precision: "f32",
  });
  while (!(await run.next()).done);
}

// Skipped, and counted as skipped, where the Python peers are not installed (test/peers/README.md).
describe.skipIf(!existsSync(python))("every family, compressed by a quarter", () => {
  test("transformers loads the results and computes our logits", async () => {
    writeTokens(join(folder, "calibration.safetensors"), randomTokens(1, 12, 24), 12);
    const backend = BACKENDS.native!("f32");
    const list: [string, string, string][] = [];
    const wanted: Record<string, number> = {};
    // Without what was recorded of it, which is no part of the checkpoint.
    const filter = (path: string) => !path.includes("expected.");
    for (const [name, golden] of CASES) cpSync(golden, join(folder, name), { recursive: true, filter });
    execFileSync(python, [join(here, "make_family_models.py"), folder, ...MADE], {
      stdio: ["ignore", "ignore", "pipe"],
    });
    const names = [...CASES.map(([name]) => name), ...MADE];
    for (const name of names) {
      const source = join(folder, name);
      for (const method of METHODS) {
        const out = join(folder, `${name}-${method}`);
        const { model, checkpoint } = await openModel(source);
        await checkpoint.close();
        const { step } = expertLimits(model);
        const experts = Math.floor((model.experts * 3) / 4 / step) * step;
        await compressTo(source, out, method, experts);
        const compressed = await openModel(out);
        const ids = randomTokens(2, 2, 20);
        const tensors = await forwardTensors(compressed.checkpoint, compressed.model, backend, {
          first: { sequences: 2, length: 20, ids },
          second: undefined,
        });
        await compressed.checkpoint.close();
        const result = `${out}.safetensors`;
        writeFileSync(result, encodeSafetensors(tensors));
        list.push([out, result, source]);
        wanted[`${name}-${method}`] = experts;
        // A result can be compressed again, to as few as its tokens use or its router's groups allow.
        const { least, experts: left } = expertLimits(compressed.model);
        if (method === "reap" && least < left) await compressTo(out, `${out}-again`, method, least);
      }
    }
    writeFileSync(join(folder, "list.json"), JSON.stringify(list));
    const found = JSON.parse(
      execFileSync(python, [join(here, "check_families.py"), join(folder, "list.json")], {
        encoding: "utf8",
        stdio: ["ignore", "pipe", "ignore"],
        maxBuffer: 2 ** 26,
      }),
    ) as { logits: number; spread: number; unmatched: string[]; experts: number; changed: string[] }[];
    const wrong = Object.entries(wanted).flatMap(([name, experts], i) => {
      const { logits, spread, changed, ...result } = found[i]!;
      // The golden of llama4 has two stand-ins for tensors of its other parts, which no model expects.
      const unmatched = result.unmatched.filter((tensor) => !/^(multi_modal_projector|vision_model)\./.test(tensor));
      const right = result.experts === experts && unmatched.length === 0 && changed.length === 0;
      return right && spread > 0.25 && logits < 2e-4 ? [] : [{ name, ...found[i]! }];
    });
    expect(wrong).toEqual([]);
    expect(found).toHaveLength(2 * names.length);
  }, 600_000);
});
