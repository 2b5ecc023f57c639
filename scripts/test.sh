#!/usr/bin/env bash
# Checks and tests everything that this machine can: format and lint, types, the Rust core where cargo is, the build, and
# all tests. The last line is `N passed, N failed` over all tests; a check that fails counts as one failed test.
set -uo pipefail
cd "$(dirname "$0")/.."

passed=0
failed=0

# check NAME COMMAND...: runs a step that has no tests of its own.
check() {
  local name=$1
  shift
  echo "== $name"
  if ! "$@"; then
    echo "FAILED: $name" >&2
    failed=$((failed + 1))
  fi
}

check "format and lint" npx biome check .
check "types" npx tsc -p tsconfig.json --noEmit

if command -v cargo > /dev/null; then
  check "Rust format" cargo fmt --manifest-path native/Cargo.toml --check
  check "Rust lint" cargo clippy --quiet --manifest-path native/Cargo.toml --all-targets -- -D warnings
  echo "== Rust tests"
  cargo_log=$(mktemp)
  cargo test --manifest-path native/Cargo.toml 2>&1 | tee "$cargo_log"
  cargo_status=${PIPESTATUS[0]}
  read -r cargo_passed cargo_failed < <(awk '/^test result:/ { p += $4; f += $6 } END { print p + 0, f + 0 }' "$cargo_log")
  rm -f "$cargo_log"
  passed=$((passed + cargo_passed))
  # A crate that does not compile runs no test and must not pass for it.
  [ "$cargo_status" -ne 0 ] && [ "$cargo_failed" -eq 0 ] && cargo_failed=1
  failed=$((failed + cargo_failed))
else
  echo "== no cargo: the Rust core is neither built nor tested"
fi

check "build" npm run --silent build

echo "== tests"
results=$(mktemp)
npx vitest run --reporter=default --reporter=json --outputFile.json="$results"
vitest_status=$?
read -r vitest_passed vitest_failed skipped < <(node -e '
  let text = "";
  try { text = require("node:fs").readFileSync(process.argv[1], "utf8"); } catch {}
  const found = text ? JSON.parse(text) : {};
  console.log(found.numPassedTests ?? 0, found.numFailedTests ?? 0, found.numPendingTests ?? 0);
' "$results")
rm -f "$results"
passed=$((passed + vitest_passed))
# A file that cannot be loaded has no failed tests, only a failed run.
[ "$vitest_status" -ne 0 ] && [ "$vitest_failed" -eq 0 ] && vitest_failed=1
failed=$((failed + vitest_failed))

echo
# Nothing is skipped in silence: without .peers the comparison with transformers is (test/peers/README.md).
[ "$skipped" -gt 0 ] && echo "$skipped tests were skipped; the list above says which."
suffix=""
[ "$skipped" -gt 0 ] && suffix=", $skipped skipped"
echo "$passed passed, $failed failed$suffix"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
