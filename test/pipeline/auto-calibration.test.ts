import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { encodeSafetensors } from "../../src/checkpoint/safetensors-encode.js";
import { compress } from "../../src/pipeline/compress.js";
import type { CompressOptions } from "../../src/pipeline/options.js";
import { Random } from "../../src/random.js";
import { ream } from "../support/command.js";
import { folderDigest } from "../support/folder-digest.js";
import { GOLDENS } from "../support/goldens.js";
import { killRounds } from "../support/kill-rounds.js";

const model = join(GOLDENS, "ream/qwen3_moe/model");
const folder = mkdtempSync(join(tmpdir(), "ream-auto-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Three rounds: 16,384, 32,768 and 40,960 tokens. */
const [SEQUENCES, LENGTH] = [640, 64];
const random = new Random(1);
// Later text is of other words, so that half of a round never says the same as all of it.
const ids = Int32Array.from({ length: SEQUENCES * LENGTH }, (_, i) => {
  return 1 + Math.floor((50 * i) / (SEQUENCES * LENGTH)) + random.below(6);
});

/** The first sequences as a file for --tokens. */
function tokens(sequences: number): string {
  const path = join(folder, `tokens-${sequences}.safetensors`);
  const data = new Uint8Array(ids.buffer, 0, 4 * sequences * LENGTH);
  writeFileSync(path, encodeSafetensors(new Map([["input_ids", { dtype: "I32", shape: [sequences, LENGTH], data }]])));
  return path;
}

async function plan(sequences: number, options: Partial<CompressOptions>) {
  const common = { model, experts: 12, method: "ream", groupSize: 4, dryRun: true, precision: "f32" } as const;
  const run = compress({ ...common, tokens: tokens(sequences), ...options });
  const notes: string[] = [];
  for (let step = await run.next(); ; step = await run.next()) {
    if (step.done) return { notes, calibration: step.value.calibration!, layers: step.value.plan.layers };
    if (step.value.type === "note") notes.push(step.value.message);
  }
}

test("where the first tokens are enough, it is a run with these tokens alone", async () => {
  const auto = await plan(SEQUENCES, { calibrationTokens: "auto", tolerance: 1 });
  const first = await plan(256, {});
  expect(auto.layers).toEqual(first.layers);
  expect(auto.calibration.digest).toBe(first.calibration.digest);
  expect(auto.calibration.domains[0]).toMatchObject({ sequences: 256, tokens: 16_384 });
  expect(auto.notes.join()).toMatch(/16,384 calibration tokens are enough: \d+\.\d %/);
});

test("where none are enough all are taken, which is said", async () => {
  const auto = await plan(SEQUENCES, { calibrationTokens: "auto", tolerance: 0 });
  expect(auto.layers).toEqual((await plan(SEQUENCES, {})).layers);
  expect(auto.notes.filter((note) => note.includes("Beginning anew"))).toHaveLength(2);
  expect(auto.notes.join()).toContain("40,960 calibration tokens are all there are and not enough");
});

test("what would outlive a round that was given up is refused", async () => {
  const auto = { calibrationTokens: "auto" } as const;
  for (const other of [{ then: ["int4"] }, { reconstruct: "down" as const }, { trace: "trace" }])
    await expect(plan(256, { ...auto, ...other })).rejects.toMatchObject({ code: "SETTINGS_CONFLICT" });
});

describe("an interrupted run", () => {
  const command = (out: string, tolerance = "0") => [
    ...[
      "compress",
      model,
      "--out",
      out,
      "--experts",
      "12",
      "--method",
      "ream",
      "--group-size",
      "4",
      "--tokens",
      tokens(SEQUENCES),
    ],
    ...["--calibration-tokens", "auto", "--tolerance", tolerance, "--json"],
  ];
  let [duration, expected]: [number, Record<string, string>] = [0, {}];

  beforeAll(async () => {
    const began = performance.now();
    const outcome = await ream(command(join(folder, "whole")));
    duration = performance.now() - began;
    expect(outcome.stderr + outcome.code).toMatch(/0$/);
    expected = folderDigest(join(folder, "whole"));
    const { calibration } = JSON.parse(readFileSync(join(folder, "whole/ream.json"), "utf8"));
    expect(calibration.sequences).toBe(SEQUENCES);
  }, 120_000);

  test("killed at random moments and run again, it gives the same bytes", async () => {
    await killRounds({ folder, command, expected, duration, random: new Random(5), kills: 12 });
  }, 600_000);
});
