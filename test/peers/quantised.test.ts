import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { decodeFp8Blocks } from "../../src/checkpoint/quantised/fp8-blocks.js";
import { decodeMxfp4 } from "../../src/checkpoint/quantised/mxfp4.js";
import { SafetensorsFile } from "../../src/checkpoint/safetensors.js";

const here = fileURLToPath(new URL(".", import.meta.url));
const python = join(here, "../../.peers/bin/python");
const folder = mkdtempSync(join(tmpdir(), "ream-quantised-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

// Skipped, and counted as skipped, where the Python peers are not installed (test/peers/README.md).
describe.skipIf(!existsSync(python))(
  "quantised tensors have the values that PyTorch and transformers give them",
  () => {
    beforeAll(() => {
      execFileSync(python, [join(here, "make_quantised.py"), folder], { stdio: ["ignore", "ignore", "pipe"] });
    });

    test.each([
      ["128x128", [128, 128]],
      ["64x32", [64, 32]],
      ["1x128", [1, 128]],
    ] as const)("FP8 with scales of blocks of %s", async (name, block) => {
      const file = await SafetensorsFile.open(join(folder, "fp8.safetensors"));
      const [weight, scales, values] = await Promise.all(
        ["weight", "scales", "values"].map((part) => file.read(`${name}.${part}`)),
      );
      expect(decodeFp8Blocks(weight!, scales!, block, name)).toEqual(values);
      await file.close();
    });

    test.each(["small", "large"])("MXFP4, %s", async (name) => {
      const file = await SafetensorsFile.open(join(folder, "mxfp4.safetensors"));
      const [blocks, scales, values] = await Promise.all(
        ["blocks", "scales", "values"].map((part) => file.read(`${name}.${part}`)),
      );
      expect(decodeMxfp4(blocks!, scales!, name)).toEqual(values);
      await file.close();
    });
  },
);
