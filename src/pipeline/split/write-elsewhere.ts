import type { Plan } from "../../compress/plan.js";
import type { FileIdentity } from "../source-identity.js";
import type { Part } from "./part.js";
import type { Split } from "./split.js";

export interface WriteElsewhereOptions {
  readonly plan: Pick<Plan, "layers">;
  /** Files of the output that have tensors. */
  readonly files: readonly string[];
  /** Files of the source that the manifest names. */
  readonly sources: readonly string[];
  /** Told of each file of the output that is there. */
  readonly onShard: (file: string) => void;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Has the shards written by others that are not there, and the source read for its digests, which are returned in the order
 * of `sources`. Errors: those of `Split`, PART_DAMAGED.
 */
export async function writeElsewhere(
  { parts, make }: Split,
  { plan, files, sources, onShard, signal }: WriteElsewhereOptions,
): Promise<FileIdentity[]> {
  // Layers that a run without workers has planned are in its journal alone.
  for (const layer of plan.layers) {
    const there = await parts.has({ kind: "layer", layer: layer.layer });
    if (!there) await parts.writePlan({ plan: layer, seconds: 0 });
  }
  await parts.prepareShards(files);
  const wanted: Part[] = [
    ...files.map((file) => ({ kind: "shard" as const, file })),
    ...sources.map((file) => ({ kind: "source" as const, file })),
  ];
  const onMade = async (part: Part) => {
    if (part.kind !== "shard") return;
    await parts.awaitShard(part.file, signal);
    onShard(part.file);
  };
  const missing: Part[] = [];
  for (const part of wanted) {
    if (await parts.has(part)) await onMade(part);
    else missing.push(part);
  }
  await make(missing, onMade);
  return Promise.all(sources.map((file) => parts.awaitIdentity(file, signal)));
}
