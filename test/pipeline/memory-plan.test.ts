import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import type { OutputFolder } from "../../src/checkpoint/output.js";
import { METHODS } from "../../src/compress/settings.js";
import { compress } from "../../src/pipeline/compress.js";
import { memoryEstimate } from "../../src/pipeline/inspect.js";
import type { MemoryEstimate } from "../../src/pipeline/memory-estimate.js";
import { planMemory, statesFile } from "../../src/pipeline/memory-plan.js";
import { openModel } from "../../src/pipeline/open-model.js";
import type { CompressOptions } from "../../src/pipeline/options.js";
import { folderDigest } from "../support/folder-digest.js";
import { GOLDENS } from "../support/goldens.js";

const folder = mkdtempSync(join(tmpdir(), "ream-memory-"));
afterAll(() => rmSync(folder, { recursive: true }));

const GB = 1e9;
const parts = { layerWeights: GB, samples: 0, alignment: 0, refit: GB, batch: 0, program: GB };
const estimate: MemoryEstimate = { sequences: 4, length: 8, bytes: 10 * GB, hiddenStates: 7 * GB, ...parts };
const never = () => {
  throw new Error("asked for");
};

describe("where hidden states are kept", () => {
  test("in memory where all fits", () => {
    expect(planMemory(estimate, undefined, () => 10 * GB)).toEqual({ statesInFile: 0, notes: [] });
    const limited = planMemory(estimate, "10GB", never);
    expect(limited.statesInFile).toBe(0);
    expect(limited.notes).toEqual([expect.stringMatching(/^10\.0 GB .*hidden states 7\.00 GB.*limit 10GB/)]);
  });

  test("in a file where it does not, with the numbers", () => {
    const plain = planMemory(estimate, undefined, () => 9 * GB);
    expect(plain.statesInFile).toBe(7 * GB);
    expect(plain.notes).toEqual([expect.stringMatching(/7\.00 GB, are kept in a file\. 10\.0 GB .* 9\.00 GB/)]);
    // More is needed than there is in any case: what was estimated may be too much.
    expect(planMemory(estimate, undefined, () => GB).statesInFile).toBe(7 * GB);
    const limited = planMemory(estimate, "3GB", never);
    expect(limited.statesInFile).toBe(7 * GB);
    expect(limited.notes).toEqual([expect.stringMatching(/^3\.00 GB/), expect.stringMatching(/7\.00 GB.* file/)]);
    expect(() => planMemory(estimate, "2.9GB", never)).toThrow(/3\.00 GB .*2\.9GB/);
  });

  test("on a disk that has room", async () => {
    const output = { partial: folder } as OutputFolder;
    const path = await statesFile({ statesInFile: 1, notes: [] }, output);
    expect(path).toBe(join(folder, "hidden-states"));
    expect(await statesFile({ statesInFile: 0, notes: [] }, output)).toBeUndefined();
    const dry = [1, 2].map(() => statesFile({ statesInFile: 1, notes: [] }, undefined));
    expect(new Set(await Promise.all(dry)).size).toBe(2);
    const tooMany = statesFile({ statesInFile: 1e18, notes: [] }, output);
    await expect(tooMany).rejects.toMatchObject({ code: "OUTPUT_SPACE" });
  });
});

describe("with hidden states in a file the same bytes come out", () => {
  const source = (name: string) => ({
    model: join(GOLDENS, name, "model"),
    tokens: join(GOLDENS, name, "calibration.safetensors"),
  });
  let runs = 0;

  async function run(options: CompressOptions): Promise<{ out: string; notes: string[] }> {
    const out = join(folder, `out-${++runs}`);
    const notes: string[] = [];
    for await (const event of compress({ precision: "f32", ...options, out }))
      if (event.type === "note") notes.push(event.message);
    return { out, notes };
  }

  test.each([
    { method: "ream" },
    { method: "reap", reconstruct: "all" },
    { method: "ream", guard: true, routerCalibration: "group-mass", then: ["gptq:int8"], reconstruct: "down" },
    { method: "reap", sequential: false },
    { method: "reap", calibrationTokens: "auto" },
  ] as const)("%j", async (how) => {
    const options: CompressOptions = {
      ...source("ream/qwen3_moe"),
      experts: 12,
      ...how,
      then: [...("then" in how ? how.then : [])],
    };
    const inMemory = await run(options);
    const { calibration } = JSON.parse(readFileSync(join(inMemory.out, "ream.json"), "utf8"));
    const opened = await openModel(options.model);
    await opened.checkpoint.close();
    const { sequences, length } = calibration;
    const parts = "reconstruct" in how ? how.reconstruct : undefined;
    const { bytes, hiddenStates } = memoryEstimate(opened, {
      ...{ sequences, length, precision: "f32", kept: 12, settings: METHODS[how.method].settings },
      refit: parts && { parts, tokens: undefined, random: 0.25 },
    });
    const memoryLimit = `${(bytes - hiddenStates / 2) / 1e6}MB`;
    const inFile = await run({ ...options, memoryLimit });
    expect(inFile.notes).toContainEqual(expect.stringMatching(/are kept in a file/));
    expect(inMemory.notes).not.toContainEqual(expect.stringMatching(/are kept in a file/));
    expect(folderDigest(inFile.out)).toEqual(folderDigest(inMemory.out));
    expect(readdirSync(inFile.out)).not.toContain("hidden-states");
    expect(existsSync(`${inFile.out}.partial`)).toBe(false);
  });
});
