import { existsSync, rmSync } from "node:fs";
import { join } from "node:path";
import { expect } from "vitest";
import type { Random } from "../../src/random.js";
import { ream } from "./command.js";
import { folderDigest } from "./folder-digest.js";

export interface KillRounds {
  /** Where outputs go. */
  readonly folder: string;
  readonly command: (out: string) => readonly string[];
  /** Of the output of a run that is not disturbed, which takes `duration` milliseconds. */
  readonly expected: Readonly<Record<string, string>>;
  readonly duration: number;
  readonly random: Random;
  /** Kills, at least. */
  readonly kills: number;
  /** Called before each run with its output. */
  readonly before?: (out: string) => void;
}

/**
 * Kills a command with SIGKILL at random moments and runs it again until its output is there, round after round: the output
 * has to be the expected one to the byte, and nothing else may end the command before.
 */
export async function killRounds({ folder, command, expected, duration, random, kills, before }: KillRounds) {
  let killed = 0;
  for (let round = 0; killed < kills; round++) {
    const out = join(folder, `killed-${round}`);
    for (;;) {
      before?.(out);
      const { signal, code, stderr } = await ream(command(out), { kill: 50 + random.next() * 1.1 * duration });
      if (existsSync(out)) {
        expect(folderDigest(out)).toEqual(expected);
        break;
      }
      expect(signal, `${code} ${stderr}`).toBe("SIGKILL");
      killed++;
      // What was killed too often to come to an end is finished undisturbed.
      if (random.next() < 0.3) expect((await ream(command(out))).code).toBe(0);
    }
    // A kill between the output's last two steps leaves the folder that it was built in, for the next run to clear.
    for (const path of [out, `${out}.partial`]) rmSync(path, { recursive: true, force: true });
  }
}
