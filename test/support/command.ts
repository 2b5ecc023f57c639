import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";

export const BIN = fileURLToPath(new URL("../../bin/ream.js", import.meta.url));

export interface Outcome {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs the built command; `kill` sends SIGKILL after some milliseconds. */
export function ream(
  args: readonly string[],
  options: { kill?: number; env?: NodeJS.ProcessEnv } = {},
): Promise<Outcome> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [BIN, ...args], {
      env: { ...process.env, ...options.env },
      stdio: ["ignore", "pipe", "pipe"],
    });
    const timer = options.kill === undefined ? undefined : setTimeout(() => child.kill("SIGKILL"), options.kill);
    let [stdout, stderr] = ["", ""];
    child.stdout.on("data", (chunk) => (stdout += chunk));
    child.stderr.on("data", (chunk) => (stderr += chunk));
    child.on("error", reject);
    child.on("close", (code, signal) => {
      clearTimeout(timer);
      resolve({ code, signal, stdout, stderr });
    });
  });
}

/**
 * Runs the command again and again, each time killed some milliseconds later than before, until it ends by itself. Returns
 * how it ended, and how often it was killed.
 */
export async function reamKilled(args: readonly string[], first: number, step: number) {
  for (let killed = 0; ; killed++) {
    const outcome = await ream(args, { kill: first + killed * step });
    if (outcome.signal !== "SIGKILL") return { ...outcome, killed };
  }
}
