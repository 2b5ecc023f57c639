import { readdir, readFile, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { isDeepStrictEqual } from "node:util";
import { writeJsonFile } from "../checkpoint/durable.js";
import { ReamError } from "../errors.js";
import { type Unit, unitsOf } from "./cuts.js";
import { MANIFEST_NAME, type ObservationManifest, unitPath } from "./manifest.js";

/** What an unfinished observation is going to be: a run that wants another must not mix its files with it. */
export const CLAIM_NAME = "claim.json";

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
  } else if (claimed !== undefined && !isClaimOf(claimed, manifest)) {
    throw new ReamError("OBSERVATION_OTHER", "the folder holds an unfinished observation with other options", {
      where: folder,
      hint: "Give the options of that run to go on with it, choose another folder, or --restart.",
    });
  }
  await writeJsonFile(join(folder, CLAIM_NAME), manifest);
}

/**
 * Makes sure that an observation which another process began is exactly the one that this process would make, to the bits
 * of its files. Errors: OBSERVATION_MISSING, OBSERVATION_OTHER.
 */
export async function checkClaim(folder: string, manifest: ObservationManifest): Promise<void> {
  const claimed = await readFile(join(folder, CLAIM_NAME), "utf8").catch((cause: unknown) => {
    throw new ReamError("OBSERVATION_MISSING", "nobody has begun an observation in the folder", {
      where: folder,
      hint: "It may be done; or this machine does not see the folder that the others use.",
      cause,
    });
  });
  if (isClaimOf(claimed, manifest)) return;
  const theirs: Record<string, unknown> = JSON.parse(claimed);
  const own: Record<string, unknown> = JSON.parse(JSON.stringify(manifest));
  const parts = Object.keys(own).filter((key) => !isDeepStrictEqual(own[key], theirs[key]));
  throw new ReamError("OBSERVATION_OTHER", `this machine would make another observation: it differs in ${parts}`, {
    where: folder,
    hint: "Model (with the times of its files), text, version and kind of processor have to be the same everywhere.",
  });
}

/** Units of which files are missing. */
export async function missingUnits(folder: string, { domains, layers }: ObservationManifest): Promise<Unit[]> {
  const missing: Unit[] = [];
  for (const unit of Object.entries(domains).flatMap(([name, { cuts }]) => unitsOf(name, cuts))) {
    const found = await Promise.all(layers.map((layer) => exists(join(folder, unitPath(unit, layer)))));
    if (found.includes(false)) missing.push(unit);
  }
  return missing;
}

/**
 * Makes sure that all files are there, some time after others have written them: file servers have caches.
 * Errors: OBSERVATION_DAMAGED.
 */
export async function checkUnits(folder: string, manifest: ObservationManifest, patience = 60_000): Promise<void> {
  const began = performance.now();
  for (;;) {
    const [missing] = await missingUnits(folder, manifest);
    if (missing === undefined) return;
    if (performance.now() - began > patience) {
      const { domain, begin, end } = missing;
      throw new ReamError("OBSERVATION_DAMAGED", `files of ${domain} ${begin}-${end} are not to be seen here`, {
        where: folder,
        hint: "All machines must write to the same folder. The same command goes on.",
      });
    }
    await setTimeout(500);
  }
}

/** Deletes halves of files that processes which were killed have left. */
export async function removeHalves(folder: string, { domains }: ObservationManifest): Promise<void> {
  for (const domain of Object.keys(domains)) {
    const names = await readdir(join(folder, domain), { recursive: true });
    for (const name of names) if (name.endsWith(".partial")) await rm(join(folder, domain, name), { force: true });
  }
}

function isClaimOf(claimed: string, manifest: ObservationManifest): boolean {
  return isDeepStrictEqual(JSON.parse(claimed), JSON.parse(JSON.stringify(manifest)));
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
