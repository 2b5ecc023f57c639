import { mkdirSync, readdirSync, symlinkSync, writeFileSync } from "node:fs";
import { totalmem } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { cpuFacts } from "../../src/doctor/cpu.js";
import { diskFacts } from "../../src/doctor/disk.js";
import { gpuLibraries } from "../../src/doctor/gpu.js";
import { memoryFacts } from "../../src/doctor/memory.js";
import { nativeVariants } from "../../src/engine/native/native-backend.js";
import { temporaryFolder } from "../cli/ream.js";

const folder = temporaryFolder();

test("the processor's features are those that the instruction sets need", () => {
  const { model, cores, features } = cpuFacts();
  expect(model).not.toBe("");
  expect(cores).toBeGreaterThan(0);
  if (features === undefined) return;
  const x86 = { amx: "amx_bf16", avx512bf16: "avx512_bf16", avx512: "avx512f", avx2: "avx2" };
  const needs = { ...x86, neonbf16: "bf16", neon: "asimd" };
  const possible = nativeVariants();
  for (const [variant, feature] of Object.entries(needs)) {
    if (possible.includes(variant)) expect(features).toContain(feature);
  }
  expect(features.includes("avx2")).toBe(possible.includes("avx2"));
});

test("memory that is available is no more than there is", () => {
  const { total, available, limit } = memoryFacts();
  expect(total).toBe(totalmem());
  expect(available).toBeGreaterThan(0);
  expect(available).toBeLessThanOrEqual(limit ?? total);
});

test("the speed of a disk is measured, and nothing is left behind", async () => {
  const found = await diskFacts(folder, 2 ** 23);
  expect(found.free).toBeGreaterThan(0);
  expect(found.free).toBeLessThanOrEqual(found.total);
  for (const speed of [found.writeSpeed, found.readSpeed]) expect(speed).toBeGreaterThan(1e5);
  expect(readdirSync(folder)).toEqual([]);
});

test("a folder that is not there is told", async () => {
  await expect(diskFacts(join(folder, "missing"))).rejects.toMatchObject({ code: "DISK" });
});

test("libraries of graphics processors are found by name, the first of each kind", () => {
  const [one, two] = [join(folder, "one"), join(folder, "two")];
  for (const each of [one, two]) mkdirSync(each);
  writeFileSync(join(one, "libcuda.so.550.1"), "");
  symlinkSync("libcuda.so.550.1", join(one, "libcuda.so.1"));
  writeFileSync(join(one, "libcudax.so"), "");
  writeFileSync(join(two, "libcuda.so.1"), "");
  writeFileSync(join(two, "libamdhip64.so.6"), "");
  expect(gpuLibraries([join(folder, "none"), one, two])).toEqual([
    { name: "CUDA driver", path: join(one, "libcuda.so.1") },
    { name: "ROCm HIP", path: join(two, "libamdhip64.so.6") },
  ]);
});
