import { randomUUID } from "node:crypto";
import { readFile, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { z } from "zod";
import { writeJsonFile } from "../../checkpoint/durable.js";
import { ReamError } from "../../errors.js";
import type { Unit } from "../../observe/cuts.js";
import { unitPath } from "../../observe/manifest.js";
import { CLAIM_NAME } from "../../observe/partial.js";
import { fetchBundle, putBundle, readIndex } from "./bundle.js";
import { damaged, type Objects } from "./objects.js";

/** What the store tells of the observation that is being made: its claim, and where its units lie. */
const OFFER = "claim.json";
const offerSchema = z.object({ run: z.uuid(), claim: z.looseObject({ layers: z.array(z.int()) }) });
type Offer = z.infer<typeof offerSchema>;

/** The units of one observation on their way through a store: who began it offers it, workers put units up. */
export class Units {
  private run: string | undefined;

  constructor(
    private readonly objects: Objects,
    private readonly folder: string,
  ) {}

  /** Offers the observation that was begun in the folder. Units of another, or of one that is made anew, do not count. */
  async offer(anew: boolean): Promise<void> {
    const path = join(this.folder, CLAIM_NAME);
    const claim: unknown = JSON.parse(await readFile(path, "utf8"));
    const known = await this.read();
    const same = known !== undefined && !anew && isDeepStrictEqual(JSON.parse(JSON.stringify(known.claim)), claim);
    this.run = same ? known.run : randomUUID();
    await this.objects.putJson(OFFER, { run: this.run, claim });
  }

  async observe(unit: Unit, observe: (folder: string) => Promise<void>): Promise<void> {
    const offer = await this.read();
    if (offer === undefined) {
      throw new ReamError("OBSERVATION_MISSING", "nobody has begun an observation in the store", {
        where: this.objects.placeOf(OFFER),
        hint: "Give the same --store to `ream observe` and to its workers.",
      });
    }
    const { run, claim } = offer;
    if ((await readIndex(this.objects, unitName(run, unit))) !== undefined) return;
    // A folder of its own for each run: files of another observation have the same names.
    const folder = join(this.folder, `observation-${run}`);
    await writeJsonFile(join(folder, CLAIM_NAME), claim);
    await observe(folder);
    const paths = claim.layers.map((layer) => unitPath(unit, layer));
    await putBundle(this.objects, unitName(run, unit), folder, paths);
    await rm(join(folder, dirname(paths[0]!)), { recursive: true, force: true });
  }

  /** Errors: STORE_DAMAGED where a unit that was said to be observed is not there. */
  async fetch(unit: Unit): Promise<void> {
    const name = unitName(this.run!, unit);
    const index = await readIndex(this.objects, name);
    if (index === undefined) throw damaged(this.objects.placeOf(name), "a unit that was observed is not there");
    await fetchBundle(this.objects, name, index, this.folder);
  }

  private read(): Promise<Offer | undefined> {
    return this.objects.getJson(OFFER, offerSchema);
  }
}

function unitName(run: string, { domain, begin, end }: Unit): string {
  return `observations/${run}/${domain}/${begin}-${end}`;
}
