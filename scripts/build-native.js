/**
 * Builds the native library (native/) and puts it where the package looks for it: native/ream.<platform>.node. Does
 * nothing where it is newer than its sources. Without Rust it says what that means and succeeds: the package works
 * without the library, slowly.
 */
import { spawnSync } from "node:child_process";
import { copyFileSync, existsSync, readdirSync, renameSync, rmSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const native = join(dirname(dirname(fileURLToPath(import.meta.url))), "native");

/** Names of what cargo builds: libream_native.so and its likes. */
const LIBRARIES = { linux: "libream_native.so", darwin: "libream_native.dylib", win32: "ream_native.dll" };

/**
 * As in src/engine/native/load-binary.ts.
 * @returns {string}
 */
function platformName() {
  const name = `${process.platform}-${process.arch}`;
  const report = /** @type {{ header: { glibcVersionRuntime?: string } }} */ (process.report.getReport());
  return process.platform === "linux" && report.header.glibcVersionRuntime === undefined ? `${name}-musl` : name;
}

/**
 * Time of the last change of what the library is built from, in milliseconds.
 * @returns {number}
 */
function newestSource() {
  const sources = readdirSync(join(native, "src")).map((name) => join(native, "src", name));
  const others = ["Cargo.toml", "Cargo.lock", "build.rs"].map((name) => join(native, name));
  return Math.max(...[...sources, ...others.filter(existsSync)].map((path) => statSync(path).mtimeMs));
}

/**
 * @returns {number} exit code
 */
function build() {
  const target = join(native, `ream.${platformName()}.node`);
  if (existsSync(target) && statSync(target).mtimeMs > newestSource()) {
    console.error("The native library is up to date.");
    return 0;
  }
  const cargo = spawnSync("cargo", ["build", "--release", "--locked"], { cwd: native, stdio: "inherit" });
  if (cargo.error !== undefined) {
    console.error(
      `\n  The native library was NOT built: cargo could not be started (${cargo.error.message}).\n` +
        "  ream works without it, but computes about a hundred times slower.\n" +
        "  Install Rust 1.89 or newer (https://rustup.rs), then run `npm run build:native` in this folder.\n",
    );
    return 0;
  }
  if (cargo.status !== 0) {
    console.error("The native library could not be built; the messages above tell why.");
    return 1;
  }
  const library = LIBRARIES[/** @type {keyof typeof LIBRARIES} */ (process.platform)] ?? LIBRARIES.linux;
  const output = join(process.env.CARGO_TARGET_DIR ?? join(native, "target"), "release", library);
  // Renamed into place, so that a process that has the old library loaded keeps it whole.
  const temporary = `${target}.${process.pid}`;
  try {
    copyFileSync(output, temporary);
    renameSync(temporary, target);
  } finally {
    rmSync(temporary, { force: true });
  }
  console.error(`Built ${target}`);
  return 0;
}

process.exitCode = build();
