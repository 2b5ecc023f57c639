import { randomUUID } from "node:crypto";
import { statfs } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { OutputFolder } from "../checkpoint/output.js";
import { memoryFacts } from "../doctor/memory.js";
import { ReamError } from "../errors.js";
import { formatBytes } from "../format.js";
import { parseMemorySize } from "../memory-size.js";
import type { MemoryEstimate } from "./memory-estimate.js";

/** How a run uses memory. */
export interface MemoryPlan {
  /** Bytes of hidden states that are kept in a file, because there is no room for them; 0: they are in memory. */
  readonly statesInFile: number;
  /** What people should know of it. */
  readonly notes: readonly string[];
}

/**
 * Plans the memory of a run: hidden states go to a file where all together is more than the limit, or than what the machine
 * has to give.
 *
 * @param available bytes that the machine has to give, asked for where there is no limit
 * @throws ReamError MEMORY_LIMIT where all else does not fit the limit, OPTION_INVALID where the limit is no size
 */
export function planMemory(
  plan: MemoryEstimate,
  limit: string | undefined,
  available = () => memoryFacts().available,
): MemoryPlan {
  const most = limit === undefined ? available() : parseMemorySize(limit, "--memory-limit");
  const inFile = plan.bytes > most;
  const bytes = inFile ? plan.bytes - plan.hiddenStates : plan.bytes;
  const states = formatBytes(plan.hiddenStates);
  const statesInFile = inFile ? plan.hiddenStates : 0;
  const kept = `Hidden states, ${states}, are kept in a file.`;
  if (limit === undefined) {
    const why = `${formatBytes(plan.bytes)} of memory are needed with them and ${formatBytes(most)} available.`;
    return { statesInFile, notes: inFile ? [`${kept} ${why}`] : [] };
  }
  const parts = [
    `one layer's weights ready for products ${formatBytes(plan.layerWeights)}`,
    ...(inFile ? [] : [`hidden states ${states}`]),
    `sampled tokens ${formatBytes(plan.samples)}`,
    ...(plan.alignment > 0 ? [`their alignment ${formatBytes(plan.alignment)}`] : []),
    ...(plan.refit > 0 ? [`the refit ${formatBytes(plan.refit)}`] : []),
    `a batch ${formatBytes(plan.batch)}`,
    `the program ${formatBytes(plan.program)}`,
  ].join(", ");
  const planned = `${formatBytes(bytes)} of memory planned (${parts})`;
  if (bytes > most) {
    throw new ReamError("MEMORY_LIMIT", `${planned} is more than the limit of ${limit}`, {
      where: "--memory-limit",
      hint: "That is all but the hidden states, which can be in a file, so that fewer tokens would not help. Raise the limit.",
    });
  }
  return { statesInFile, notes: [`${planned}, limit ${limit}.`, ...(inFile ? [kept] : [])] };
}

/**
 * Where a run's hidden states are kept: with its unfinished output, or in the folder of temporary files in a dry run. Undefined: in
 * memory. Errors: OUTPUT_SPACE.
 */
export async function statesFile(
  { statesInFile }: MemoryPlan,
  output: OutputFolder | undefined,
): Promise<string | undefined> {
  if (statesInFile === 0) return undefined;
  const folder = output?.partial ?? tmpdir();
  const { bavail, bsize } = await statfs(folder);
  if (statesInFile > bavail * bsize) {
    throw new ReamError(
      "OUTPUT_SPACE",
      `hidden states are ${formatBytes(statesInFile)}, and ${formatBytes(bavail * bsize)} are free`,
      { where: folder, hint: "Make room, or give fewer --sequences." },
    );
  }
  return join(folder, output === undefined ? `ream-${randomUUID()}` : "hidden-states");
}
