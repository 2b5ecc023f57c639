import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, test } from "vitest";
import { encodeSafetensors } from "../../src/checkpoint/safetensors-encode.js";
import { Random } from "../../src/random.js";
import { ream } from "../support/command.js";

const root = fileURLToPath(new URL("../../", import.meta.url));
const python = join(root, ".peers/bin/python");
const model = join(root, "demo/model");
const folder = mkdtempSync(join(tmpdir(), "ream-peers-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

// Skipped, and counted as skipped, where the Python peers are not installed (test/peers/README.md).
describe.skipIf(!existsSync(python))("Hugging Face transformers loads the compressed demo model", () => {
  test.each([
    ["ream", "source"],
    ["ream", "layer"],
    ["reap", "source"],
    ["hc-smoe", "layer"],
  ])("%s, shards by %s: the same logits", async (method, shards) => {
    const out = join(folder, `${method}-${shards}`);
    const domain = (name: string) => ["--domain", `${name}=${join(root, `demo/data/calibration/${name}.jsonl`)}`];
    const calibration = [
      ...domain("general"),
      ...domain("math"),
      ...domain("code"),
      "--sequences",
      "24",
      "--length",
      "64",
    ];
    const compressed = await ream([
      "compress",
      model,
      "--out",
      out,
      "--experts",
      "48",
      "--method",
      method,
      "--shards",
      shards,
      ...calibration,
    ]);
    expect(compressed.code, compressed.stderr).toBe(0);

    const random = new Random(7);
    const ids = Int32Array.from({ length: 2 * 40 }, () => random.below(1024));
    const [idsFile, result] = [join(folder, "ids.safetensors"), join(folder, "result.safetensors")];
    writeFileSync(
      idsFile,
      encodeSafetensors(new Map([["input_ids", { dtype: "I32", shape: [2, 40], data: new Uint8Array(ids.buffer) }]])),
    );
    rmSync(result, { force: true });
    const forward = await ream(["forward", out, "--ids", idsFile, "--out", result, "--precision", "f32"]);
    expect(forward.code, forward.stderr).toBe(0);

    const found = JSON.parse(
      execFileSync(python, [join(root, "test/peers/transformers_check.py"), out, result, model], {
        encoding: "utf8",
        stdio: ["ignore", "pipe", "ignore"],
      }),
    ) as Record<string, unknown>;
    expect(found).toMatchObject({ unmatched: [], experts: 48, changed: [] });
    expect(found.spread).toBeGreaterThan(0.5);
    expect(found.logits).toBeLessThan(2e-4);
  });
});
