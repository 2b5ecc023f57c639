import { existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Random } from "../../src/random.js";
import { ream } from "../support/command.js";
import { folderDigest } from "../support/folder-digest.js";
import { GOLDENS } from "../support/goldens.js";
import { killRounds } from "../support/kill-rounds.js";

const source = join(GOLDENS, "ream/qwen3_moe");
const folder = mkdtempSync(join(tmpdir(), "ream-steps-resume-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Merges, and quantises by what the text says: results that nothing but the run itself knows. */
const compress = (out: string, ...more: string[]) => [
  ...["compress", join(source, "model"), "--out", out, "--experts", "12", "--method", "ream", "--group-size", "4"],
  ...["--tokens", join(source, "calibration.safetensors"), "--backend", "reference"],
  ...["--then", "gptq:int4-channel", "--json", ...more],
];

describe("an interrupted compression with steps", () => {
  let expected: Record<string, string>;
  let duration: number;

  beforeAll(async () => {
    const began = performance.now();
    const outcome = await ream(compress(join(folder, "whole")));
    duration = performance.now() - began;
    expect(outcome.stderr + outcome.code).toMatch(/0$/);
    expected = folderDigest(join(folder, "whole"));
    expect(existsSync(join(folder, "whole.partial"))).toBe(false);
  });

  test("killed at random moments and run again, it gives the same bytes and never half of them", async () => {
    /** Runs that found layers whose matrices an earlier one had kept. */
    let continued = 0;
    const before = (out: string) => {
      const kept = `${out}.partial/steps`;
      if (existsSync(kept) && readdirSync(kept).some((name) => name.endsWith(".json"))) continued++;
    };
    const random = new Random(20_261_127);
    await killRounds({ folder, command: compress, expected, duration, random, kills: 16, before });
    expect(continued).toBeGreaterThan(0);
  }, 600_000);

  test("other steps do not continue it, and --restart throws away what was kept", async () => {
    const out = join(folder, "other");
    let attempt = 0;
    while (!existsSync(`${out}.partial/steps/layer-0.json`)) {
      await ream(compress(out), { kill: 0.4 * duration + 50 * attempt++ });
      rmSync(out, { recursive: true, force: true });
    }
    const changed = await ream(compress(out, "--damping", "0.05"));
    expect(changed.code).toBe(1);
    expect(changed.stderr).toContain("RESUME_MISMATCH");
    expect((await ream(compress(out, "--restart"))).code).toBe(0);
    expect(folderDigest(out)).toEqual(expected);
  });
});
