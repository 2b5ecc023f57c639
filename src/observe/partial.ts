import { readFile, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { writeJsonFile } from "../checkpoint/durable.js";
import { ReamError } from "../errors.js";
import { MANIFEST_NAME, type ObservationManifest } from "./manifest.js";

/** What an unfinished observation is going to be: a run that wants another must not mix its files with it. */
const CLAIM_NAME = "claim.json";

/**
 * Makes a folder this observation's: new, left by an interrupted run of the same, or emptied by `restart`.
 * Errors: OUTPUT_EXISTS, OBSERVATION_OTHER.
 */
export async function claim(folder: string, manifest: ObservationManifest, restart: boolean): Promise<void> {
  const read = (name: string) => readFile(join(folder, name), "utf8").catch(() => undefined);
  const finished = await read(MANIFEST_NAME);
  const claimed = await read(CLAIM_NAME);
  if (restart) {
    for (const domain of Object.keys(manifest.domains))
      await rm(join(folder, domain), { recursive: true, force: true });
    await rm(join(folder, MANIFEST_NAME), { force: true });
  } else if (finished !== undefined) {
    throw new ReamError("OUTPUT_EXISTS", "the folder holds a finished observation", {
      where: folder,
      hint: "Choose another folder, or --restart to throw it away.",
    });
  } else if (claimed !== undefined && !isDeepStrictEqual(JSON.parse(claimed), JSON.parse(JSON.stringify(manifest)))) {
    throw new ReamError("OBSERVATION_OTHER", "the folder holds an unfinished observation with other options", {
      where: folder,
      hint: "Give the options of that run to go on with it, choose another folder, or --restart.",
    });
  }
  await writeJsonFile(join(folder, CLAIM_NAME), manifest);
}

/** Ends the claim of a finished observation. */
export async function endClaim(folder: string): Promise<void> {
  await rm(join(folder, CLAIM_NAME), { force: true });
}

/** Whether a file is there; those that are were written whole. */
export async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}
