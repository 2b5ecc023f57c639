import { expect, test } from "vitest";
import { doctorOutcome } from "../../src/cli/doctor.js";
import type { Diagnosis } from "../../src/doctor/doctor.js";
import { nativeVariants } from "../../src/engine/native/native-backend.js";
import { ream, temporaryFolder } from "./ream.js";

const folder = temporaryFolder();

test("tells what the machine is and that its kernels are right", async () => {
  const { status, stdout } = await ream(["doctor", "--folder", folder]);
  expect(status).toBe(0);
  for (const name of ["processor", "instruction set", "memory", "disk", "GPU libraries"])
    expect(stdout).toMatch(new RegExp(`^${name} {2,}\\S`, "m"));
  expect(stdout).toMatch(/^All \d+ kernels are right/m);
  expect(stdout).toMatch(/^native core +rustc 1\.\d+/m);
});

test("--json has the same; a wrong kernel ends with status 1", async () => {
  const variant = nativeVariants().at(-1)!;
  const environment = { REAM_CPU_VARIANT: variant };
  const { status, stdout } = await ream(["doctor", "--json", "--folder", folder], { environment });
  expect(status).toBe(0);
  const found = JSON.parse(stdout) as Diagnosis;
  expect(found).toMatchObject({ healthy: true, native: { variant, variants: nativeVariants() } });
  const [first, ...others] = found.kernels;
  const wrong = { ...found, healthy: false, kernels: [{ ...first!, difference: 0.1, right: false }, ...others] };
  const outcome = doctorOutcome(wrong);
  expect(outcome.status).toBe(1);
  expect(outcome.text).toMatch(/1e-1 WRONG/);
  expect(outcome.text).toMatch(/1 of \d+ kernels are WRONG/);
});

test("without the native core the status is 1, and it says why", async () => {
  const environment = { NAPI_RS_NATIVE_LIBRARY_PATH: "/none.node" };
  const { status, stdout } = await ream(["doctor", "--folder", folder], { environment });
  expect(status).toBe(1);
  expect(stdout).toContain("/none.node");
});

test("a disk that cannot be measured is an error", async () => {
  const { status, stderr } = await ream(["doctor", "--folder", `${folder}/missing`]);
  expect(status).toBe(1);
  expect(stderr).toContain("error DISK");
});
