import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { encodeSafetensors } from "../../src/checkpoint/safetensors-encode.js";
import { Random } from "../../src/random.js";
import { ream } from "../support/command.js";
import { folderDigest } from "../support/folder-digest.js";
import { GOLDENS } from "../support/goldens.js";
import { killRounds } from "../support/kill-rounds.js";

const source = join(GOLDENS, "ream/qwen3_moe");
const folder = mkdtempSync(join(tmpdir(), "ream-resume-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** A compression that takes a second or two, so that there is time to be killed in. */
const compress = (out: string, ...more: string[]) => [
  ...[
    "compress",
    join(source, "model"),
    "--out",
    out,
    "--experts",
    "12",
    "--method",
    "ream-official",
    "--group-size",
    "4",
  ],
  ...[
    "--tokens",
    join(source, "calibration.safetensors"),
    "--backend",
    "reference",
    "--shards",
    "layer",
    "--json",
    ...more,
  ],
];

test("killed in a model whose attention has experts, it gives the same bytes", async () => {
  const tokens = join(folder, "tokens.safetensors");
  const random = new Random(3);
  const data = new Uint8Array(Int32Array.from({ length: 2400 }, () => random.below(256)).buffer);
  writeFileSync(tokens, encodeSafetensors(new Map([["input_ids", { dtype: "I32", shape: [60, 40], data }]])));
  const model = join(GOLDENS, "forward/jetmoe");
  const fixed = [
    "--tokens",
    tokens,
    "--backend",
    "reference",
    "--shards",
    "layer",
    "--experts",
    "5",
    "--method",
    "ream",
    "--json",
  ];
  const command = (out: string) => ["compress", model, "--out", out, ...fixed];
  const began = performance.now();
  const whole = await ream(command(join(folder, "whole-attention")));
  const duration = performance.now() - began;
  expect(whole.stderr + whole.code).toMatch(/0$/);
  const expected = folderDigest(join(folder, "whole-attention"));
  await killRounds({ folder, command, expected, duration, random, kills: 8 });
}, 600_000);

describe("an interrupted compression", () => {
  let expected: Record<string, string>;
  let duration: number;

  beforeAll(async () => {
    const began = performance.now();
    const outcome = await ream(compress(join(folder, "whole")));
    duration = performance.now() - began;
    expect(outcome.stderr + outcome.code).toMatch(/0$/);
    expected = folderDigest(join(folder, "whole"));
    expect(Object.keys(expected)).toContain("ream.json");
  });

  test("the same command gives the same bytes", async () => {
    expect((await ream(compress(join(folder, "again")))).code).toBe(0);
    expect(folderDigest(join(folder, "again"))).toEqual(expected);
  });

  test("killed at random moments and run again, it gives the same bytes and never half of them", async () => {
    const random = new Random(20_261_123);
    await killRounds({ folder, command: compress, expected, duration, random, kills: 24 });
  }, 600_000);

  test("other options do not continue it", async () => {
    const out = join(folder, "other");
    let attempt = 0;
    while (!existsSync(`${out}.partial/.ream/journal.jsonl`)) {
      await ream(compress(out), { kill: 0.5 * duration + 50 * attempt++ });
      rmSync(out, { recursive: true, force: true });
    }
    const changed = await ream(compress(out, "--saliency", "frequency"));
    expect(changed.code).toBe(1);
    expect(changed.stderr).toContain("RESUME_MISMATCH");
    expect((await ream(compress(out, "--saliency", "frequency", "--restart"))).code).toBe(0);
  });

  test("a source that changed in between is noticed", async () => {
    const [model, out] = [join(folder, "model"), join(folder, "changed")];
    const { cpSync } = await import("node:fs");
    cpSync(join(source, "model"), model, { recursive: true });
    const args = compress(out).map((arg) => (arg === join(source, "model") ? model : arg));
    let attempt = 0;
    while (!existsSync(`${out}.partial/.ream/journal.jsonl`)) {
      await ream(args, { kill: 0.5 * duration + 50 * attempt++ });
      rmSync(out, { recursive: true, force: true });
    }
    const weights = join(model, "model.safetensors");
    const bytes = readFileSync(weights);
    bytes[bytes.length - 1]! ^= 1;
    writeFileSync(weights, bytes);
    const outcome = await ream(args);
    expect(outcome.code).toBe(1);
    expect(outcome.stderr).toContain("RESUME_MISMATCH");
  });
});

describe("an interrupted compression of a quantised model", () => {
  test.each([
    ["errors of rounding included", "none", 12],
    ["with a refit that goes back to its form", "down", 6],
  ] as const)(
    "killed at random moments and run again, it gives the same bytes, %s",
    async (_, reconstruct, kills) => {
      const model = join(GOLDENS, "forward/qwen3_moe-fp8");
      const command = (out: string) => [
        ...["compress", model, "--out", out, "--experts", "6", "--backend", "reference", "--shards", "layer"],
        ...["--tokens", join(source, "calibration.safetensors"), "--reconstruct", reconstruct, "--json"],
      ];
      const whole = join(folder, `quantised-${reconstruct}`);
      const began = performance.now();
      expect((await ream(command(whole))).code).toBe(0);
      const duration = performance.now() - began;
      const manifest = JSON.parse(readFileSync(join(whole, "ream.json"), "utf8"));
      if (reconstruct === "none") expect(manifest.requantised).toHaveLength(2);
      else expect(manifest.reconstruct.layers.some(({ kept }: { kept: boolean }) => kept)).toBe(true);
      const random = new Random(7);
      await killRounds({ folder, command, expected: folderDigest(whole), duration, random, kills });
    },
    600_000,
  );
});
