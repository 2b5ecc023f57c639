import { spawn } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll } from "vitest";

const root = fileURLToPath(new URL("../../", import.meta.url));
const program = join(root, "bin/ream.js");

/** Tests of the command run what is built; an old build would test old code. */
function checkBuild(): void {
  const sources = readdirSync(join(root, "src"), { recursive: true, withFileTypes: true }).filter((entry) =>
    entry.isFile(),
  );
  const newest = Math.max(...sources.map((entry) => statSync(join(entry.parentPath, entry.name)).mtimeMs));
  const built = statSync(join(root, "dist/src/cli/main.js"), { throwIfNoEntry: false })?.mtimeMs ?? 0;
  if (built < newest) throw new Error("dist/ is older than src/: run `npm run build:typescript` first");
}
checkBuild();

export interface Finished {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  readonly cwd?: string;
  readonly environment?: Readonly<Record<string, string>>;
  /** Called with all of stderr so far whenever some arrives. */
  readonly onStderr?: (text: string, kill: (signal: NodeJS.Signals) => void) => void;
}

/** Runs `ream` as a user does, without network and colours. */
export function ream(args: readonly string[], options: RunOptions = {}): Promise<Finished> {
  const environment = { ...process.env, HF_HUB_OFFLINE: "1", NO_COLOR: "1", REAM_DEBUG: "", ...options.environment };
  const child = spawn(process.execPath, [program, ...args], { cwd: options.cwd ?? root, env: environment });
  let stdout = "";
  let stderr = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    stderr += text;
    options.onStderr?.(stderr, (signal) => child.kill(signal));
  });
  return new Promise((resolve, reject) => {
    child.on("error", reject).on("close", (status) => resolve({ status, stdout, stderr }));
  });
}

/** A folder for a test file's outputs, removed at its end. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "ream-cli-"));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}
