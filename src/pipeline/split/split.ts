import type { OutputFolder } from "../../checkpoint/output.js";
import { ReamError } from "../../errors.js";
import type { ModelDescription } from "../../model/description.js";
import type { ResolvedCompressOptions } from "../options.js";
import type { OutputIdentity } from "../output-identity.js";
import type { Part } from "./part.js";
import { PartsFolder } from "./parts-folder.js";

/**
 * Has parts of the compression with that identity made by other processes, which leave them in `folder`, the unfinished
 * output (make-part.ts). `onMade` is called for one after the other; ends when all are made, fails when one came to nothing.
 */
export type CompressElsewhere = <P extends Part>(
  folder: string,
  identity: OutputIdentity,
  parts: readonly P[],
  onMade: (part: P) => Promise<void>,
) => Promise<void>;

/** A compression whose parts are made by others, as the process sees it that puts them together. */
export interface Split {
  readonly parts: PartsFolder;
  readonly make: <P extends Part>(parts: readonly P[], onMade: (part: P) => Promise<void>) => Promise<void>;
}

export async function beginSplit(
  elsewhere: CompressElsewhere,
  { partial }: OutputFolder,
  identity: OutputIdentity,
  model: ModelDescription,
  kept: number,
): Promise<Split> {
  const parts = await PartsFolder.create(partial, identity, model, kept);
  return { parts, make: (wanted, onMade) => elsewhere(partial, identity, wanted, onMade) };
}

/** Refuses what cannot be split: `SETTINGS_CONFLICT`. */
export function checkSplit({ observed, plan, dryRun }: ResolvedCompressOptions): void {
  if (observed === undefined && plan === undefined) {
    throw new ReamError(
      "SETTINGS_CONFLICT",
      "what observes as it compresses cannot be split: a layer needs those before it",
      {
        where: "--queue",
        hint: "Observe first, which splits too (ream observe --queue), then give --observed.",
      },
    );
  }
  if (dryRun) {
    throw new ReamError("SETTINGS_CONFLICT", "a dry run has no folder that workers could leave plans in", {
      where: "--queue",
      hint: "Leave out --queue, or --dry-run: what is planned is kept in the output's unfinished folder.",
    });
  }
}
