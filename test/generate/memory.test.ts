import { mkdirSync, writeFileSync } from "node:fs";
import { freemem } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Checkpoint } from "../../src/checkpoint/checkpoint.js";
import { createReferenceBackend } from "../../src/engine/reference/reference-backend.js";
import { availableMemory } from "../../src/generate/memory.js";
import { planMemory, type Residence } from "../../src/generate/memory-plan.js";
import { describeModel } from "../../src/model/describe.js";
import { temporaryFolder } from "../calibration/folder.js";

const root = temporaryFolder();

describe("availableMemory", () => {
  const group = (path: string, files: Record<string, string>) => {
    mkdirSync(join(root, path), { recursive: true });
    for (const [name, content] of Object.entries(files)) writeFileSync(join(root, path, name), content);
  };

  test("is what the tightest control group above the process has left, files that can be dropped not counted", async () => {
    group(".", {});
    group("outer", {
      "memory.max": "5000000\n",
      "memory.current": "3000000\n",
      "memory.stat": "anon 1\ninactive_file 700000\n",
    });
    group("outer/inner", { "memory.max": "max\n", "memory.current": "1\n" });
    writeFileSync(join(root, "membership"), "0::/outer/inner\n");
    expect(await availableMemory(root, join(root, "membership"))).toBe(2_700_000);
  });

  test("is what the system has where there are no such groups", async () => {
    const available = await availableMemory(root, join(root, "no such file"));
    expect(available).toBeGreaterThan(0.2 * freemem());
    expect(available).toBeLessThan(5 * freemem());
  });
});

describe("planMemory", () => {
  let demo: Checkpoint;
  beforeAll(async () => {
    demo = await Checkpoint.open(join(import.meta.dirname, "../../demo/model"));
  });
  afterAll(() => demo.close());

  /** As if every expert had matrices of a million numbers: 3.1 GB of weights in float32, 0.8 GB of them in a layer. */
  const plan = (available: number, residence: Residence = "auto") => {
    const large = Object.create(demo) as Checkpoint;
    large.info = (name) => ({ ...demo.info(name), shape: name.includes(".experts.") ? [1000, 1000] : [1] });
    const model = describeModel(demo.config, demo);
    return planMemory(large, model, createReferenceBackend("f32"), available, residence);
  };

  test("weights stay where they fit with room for caches, else they are streamed", () => {
    expect(plan(5e9)).toMatchObject({ resident: true });
    expect(plan(3.5e9)).toMatchObject({ resident: false });
    expect(plan(5e9, "no")).toMatchObject({ resident: false });
    // Passes over streamed weights take more along.
    expect(plan(5e9, "no").passTokens).toBeGreaterThan(plan(5e9).passTokens);
    expect(plan(8e9).cacheTokens).toBeGreaterThan(plan(5e9).cacheTokens);
  });

  test.each<[number, Residence]>([
    [2e9, "auto"],
    [3e9, "yes"],
  ])("%d bytes and residence %s: too little is an error with the numbers", (available, residence) => {
    expect(() => plan(available, residence)).toThrow(
      expect.objectContaining({
        code: "MEMORY_TOO_SMALL",
        message: expect.stringContaining(`${(available / 2 ** 30).toFixed(1)} GiB of memory are available`),
      }),
    );
  });
});
