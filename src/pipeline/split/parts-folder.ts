import { randomUUID } from "node:crypto";
import { mkdir, readdir, readFile, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { z } from "zod";
import { replaceDurably, writeError, writeFully } from "../../checkpoint/durable.js";
import { CONTENT } from "../../checkpoint/output-checks.js";
import { checkFileName } from "../../checkpoint/paths.js";
import { type ShardTensor, writeTensors } from "../../checkpoint/shard-writer.js";
import type { LayerPlan } from "../../compress/plan.js";
import { ReamError } from "../../errors.js";
import type { ModelDescription } from "../../model/description.js";
import { exists } from "../../observe/partial.js";
import { sha256 } from "../../sha256.js";
import { fingerprintOf, type OutputIdentity } from "../output-identity.js";
import { checkRecorded } from "../recorded-plans.js";
import { type RequantisedEntries, type RequantisedErrors, requantisedSchema } from "../requantised-errors.js";
import type { FileIdentity } from "../source-identity.js";
import type { Part } from "./part.js";
import { decodeRecord, encodeRecord } from "./record.js";

/** A plan with the seconds that it took. */
export interface PlannedLayer {
  readonly plan: LayerPlan;
  readonly seconds: number;
}

const planSchema = z.object({ seconds: z.number(), plan: z.unknown() });
const identitySchema = z.object({ name: z.string(), bytes: z.int().min(0), sha256: z.string() });

/** Milliseconds within which a file has to be visible here after another machine has written it: file servers have caches. */
const VISIBLE = 60_000;
const PAUSE = 500;
/** Characters that an attempt's file has behind the name of what it becomes. */
const SUFFIX = 37;

/**
 * What several processes make of an unfinished output together. Plans and digests of the source lie in
 * `OUT.partial/parts/<fingerprint>`, shards in `OUT.partial/model`; what is there is whole. Attempts have names of their
 * own in `parts/<fingerprint>/new` and are renamed.
 *
 * Only whoever holds the output's lock makes folders. Those of an output that was finished or begun anew are gone, so that
 * a process which comes too late fails, and never adds to what others have published or do.
 */
export class PartsFolder {
  private constructor(
    private readonly partial: string,
    private readonly folder: string,
    private readonly fingerprint: string,
    private readonly model: ModelDescription,
    private readonly kept: number,
  ) {}

  /** Makes the folder, where it is not there yet. */
  static async create(partial: string, identity: OutputIdentity, model: ModelDescription, kept: number) {
    const fingerprint = fingerprintOf(identity);
    const folder = join(partial, "parts", fingerprint);
    await mkdir(join(folder, "new"), { recursive: true });
    return new PartsFolder(partial, folder, fingerprint, model, kept);
  }

  /** The folder that another process made. Errors: OUTPUT_MISSING. */
  static async find(partial: string, identity: OutputIdentity, model: ModelDescription, kept: number) {
    const fingerprint = fingerprintOf(identity);
    const folder = join(partial, "parts", fingerprint);
    if (await exists(join(folder, "new"))) return new PartsFolder(partial, folder, fingerprint, model, kept);
    throw new ReamError("OUTPUT_MISSING", "nobody is making this output there", {
      where: partial,
      hint: "It may be done, or have begun anew; or this machine does not see the folder that the others use.",
    });
  }

  /** Whether a part has been made. Errors: PART_DAMAGED. */
  async has(part: Part): Promise<boolean> {
    if (part.kind === "shard") return exists(this.shardPath(part.file));
    const made = part.kind === "layer" ? await this.readPlan(part.layer) : await this.readIdentity(part.file);
    return made !== undefined;
  }

  /** The plan of a layer, if it has been made. Errors: PART_DAMAGED. */
  readPlan(layer: number): Promise<PlannedLayer | undefined> {
    return this.read(planName(layer), (value, fail) => {
      const planned = planSchema.safeParse(value);
      if (!planned.success) return fail(z.prettifyError(planned.error));
      const plan = checkRecorded(planned.data.plan, this.model, this.kept, fail);
      return plan.layer === layer ? { plan, seconds: planned.data.seconds } : fail(`it is of layer ${plan.layer}`);
    });
  }

  /** The plan of a layer that somebody has made. Errors: PART_DAMAGED, PART_MISSING. */
  awaitPlan(layer: number, signal?: AbortSignal): Promise<PlannedLayer> {
    return visible(() => this.readPlan(layer), join(this.folder, planName(layer)), signal);
  }

  writePlan(planned: PlannedLayer): Promise<void> {
    return this.write(planName(planned.plan.layer), planned);
  }

  /** Identity of a file of the source that somebody has read. Errors: PART_DAMAGED, PART_MISSING. */
  awaitIdentity(file: string, signal?: AbortSignal): Promise<FileIdentity> {
    return visible(() => this.readIdentity(file), join(this.folder, identityName(file)), signal);
  }

  writeIdentity(identity: FileIdentity): Promise<void> {
    return this.write(identityName(identity.name), identity);
  }

  /** Ends when a shard that somebody has written is to be seen here. Errors: PART_MISSING. */
  async awaitShard(file: string, signal?: AbortSignal): Promise<void> {
    const path = this.shardPath(file);
    await visible(async () => (await exists(path)) || undefined, path, signal);
  }

  /** Makes the folders that shards need. */
  async prepareShards(files: readonly string[]): Promise<void> {
    for (const file of files) await mkdir(dirname(this.shardPath(file)), { recursive: true });
  }

  /** @param requantised what rounding its experts anew lost, known when they have been written; recorded first */
  async writeShard(
    file: string,
    tensors: readonly ShardTensor[],
    metadata: Readonly<Record<string, string>>,
    requantised: RequantisedErrors,
  ): Promise<void> {
    await this.place(this.shardPath(file), async (handle) => {
      await writeTensors(handle, tensors, metadata);
      await this.write(requantisedName(file), { entries: requantised.entries });
    });
  }

  /** What rounding the experts of a shard anew lost, where somebody has written it. Errors: PART_DAMAGED, PART_MISSING. */
  awaitRequantised(file: string, signal?: AbortSignal): Promise<RequantisedEntries> {
    const name = requantisedName(file);
    const look = () =>
      this.read(name, (value, fail) => {
        const found = z.object({ entries: requantisedSchema }).safeParse(value);
        return found.success ? found.data.entries : fail(z.prettifyError(found.error));
      });
    return visible(look, join(this.folder, name), signal);
  }

  private readIdentity(file: string): Promise<FileIdentity | undefined> {
    return this.read(identityName(file), (value, fail) => {
      const identity = identitySchema.safeParse(value);
      return identity.success && identity.data.name === file ? identity.data : fail("it is of another file");
    });
  }

  private async read<T>(
    name: string,
    check: (value: unknown, fail: (what: string) => never) => T,
  ): Promise<T | undefined> {
    const path = join(this.folder, name);
    const text = await readFile(path, "utf8").catch((error: NodeJS.ErrnoException) => {
      if (error.code === "ENOENT") return undefined;
      throw error;
    });
    if (text === undefined) return undefined;
    const fail = (what: string): never => {
      throw new ReamError("PART_DAMAGED", `what a worker made is damaged: ${what}`, {
        where: path,
        hint: "Delete the file; the same command makes it again.",
      });
    };
    return check(decodeRecord(text, this.fingerprint, fail), fail);
  }

  private write(name: string, value: object): Promise<void> {
    const text = encodeRecord(this.fingerprint, value);
    return this.place(join(this.folder, name), (handle) => writeFully(handle, Buffer.from(text)));
  }

  private async place(path: string, write: Parameters<typeof replaceDurably>[2]): Promise<void> {
    const attempts = join(this.folder, "new");
    const name = path.slice(this.partial.length + 1).replaceAll(/[/\\]/g, "%");
    try {
      // A killed attempt left as much as the whole shard may be. Whoever still works at one has lost the work to this.
      for (const other of await readdir(attempts)) {
        if (other.slice(0, -SUFFIX) === name) await rm(join(attempts, other), { force: true });
      }
      await replaceDurably(path, join(attempts, `${name}.${randomUUID()}`), write);
    } catch (error) {
      throw writeError(error, path);
    }
  }

  private shardPath(file: string): string {
    return join(this.partial, CONTENT, checkFileName(file, this.partial));
  }
}

function planName(layer: number): string {
  return `layer-${String(layer).padStart(5, "0")}.json`;
}

/** By digest, as `identityName`. */
function requantisedName(file: string): string {
  return `requantised-${sha256(file)}.json`;
}

/** By digest, for a name may be as long as the file system allows. */
function identityName(file: string): string {
  return `source-${sha256(file)}.json`;
}

/** Waits for what another machine has written. */
async function visible<T>(
  look: () => Promise<T | undefined>,
  where: string,
  signal: AbortSignal | undefined,
): Promise<T> {
  const began = performance.now();
  for (;;) {
    const found = await look();
    if (found !== undefined) return found;
    if (performance.now() - began > VISIBLE) {
      throw new ReamError("PART_MISSING", "a worker has made it, but it is not to be seen here", {
        where,
        hint: "All machines must see the same folder. The same command goes on.",
      });
    }
    await setTimeout(PAUSE, undefined, { signal });
  }
}
