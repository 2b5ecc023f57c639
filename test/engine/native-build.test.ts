import { spawnSync } from "node:child_process";
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { platformName } from "../../src/engine/native/load-binary.js";

// A package folder of its own, in which a stand-in for cargo is all that the PATH offers.
let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "ream-build-"));
  for (const name of ["scripts", "native/src", "bin"]) mkdirSync(join(folder, name), { recursive: true });
  copyFileSync(join(import.meta.dirname, "../../scripts/build-native.js"), join(folder, "scripts/build-native.mjs"));
  for (const name of ["Cargo.toml", "Cargo.lock", "build.rs", "src/lib.rs"]) {
    writeFileSync(join(folder, "native", name), "");
  }
});
afterEach(() => rmSync(folder, { recursive: true }));

function build() {
  const env = { PATH: join(folder, "bin") };
  return spawnSync(process.execPath, [join(folder, "scripts/build-native.mjs")], { env, encoding: "utf8" });
}

function provideCargo(script: string): void {
  const path = join(folder, "bin/cargo");
  writeFileSync(path, `#!/bin/sh\n${script}\n`);
  chmodSync(path, 0o755);
}

const BUILT = "/bin/mkdir -p target/release && echo library > target/release/libream_native.so";

test("without cargo it says what that means and succeeds", () => {
  const { status, stderr } = build();
  expect(status).toBe(0);
  expect(stderr).toMatch(/NOT built.*cargo/s);
  expect(stderr).toContain("rustup.rs");
});

test("a build that fails fails the script", () => {
  provideCargo("exit 101");
  expect(build().status).toBe(1);
});

test.runIf(process.platform === "linux")("the library appears under the platform's name, once", () => {
  provideCargo(`${BUILT} && echo run >> runs`);
  expect(build().status).toBe(0);
  const files = readdirSync(join(folder, "native")).filter((name) => name.includes(".node"));
  expect(files).toEqual([`ream.${platformName()}.node`]);
  // The second time there is nothing to do: cargo would fail.
  provideCargo("exit 101");
  const { status, stderr } = build();
  expect([status, stderr]).toEqual([0, expect.stringContaining("up to date")]);
  expect(existsSync(join(folder, "native/runs"))).toBe(true);
});
