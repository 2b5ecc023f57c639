import type { Checkpoint } from "../checkpoint/checkpoint.js";
import { decode } from "../checkpoint/dtypes.js";
import { type Merging, mergeGroup } from "../compress/merge.js";
import { type Group, isMerged } from "../compress/plan.js";
import { addShares, type Share } from "../compress/steps/step-error.js";
import type { Backend, ExpertTensors } from "../engine/backend.js";
import type { ExpertCoding, StoredExpert } from "../model/expert-coding.js";
import { EXPERT_PARTS } from "../model/expert-storage.js";

/** What became of a group of quantised experts. */
export interface RequantisedExpert {
  readonly stored: StoredExpert;
  /** What rounding the merged weights anew lost, as a share of their squares; undefined: nothing was merged. */
  readonly error: Share | undefined;
}

/** What rounding the merged experts of a layer anew lost. */
export interface LayerRequantised {
  readonly layer: number;
  /** Experts that were merged; all others keep their bytes. */
  readonly experts: number;
  readonly error: Share;
}

/**
 * A group of quantised experts as one: its centroid byte for byte where nothing is merged, else the members' values merged in
 * float32 and rounded to nearest in the form that they were stored in.
 */
export async function requantiseGroup(
  backend: Backend,
  coding: ExpertCoding,
  checkpoint: Checkpoint,
  group: Group,
  merging: Omit<Merging, "dtype">,
): Promise<RequantisedExpert> {
  const [centroid] = group.members;
  if (!isMerged(group)) return { stored: await coding.read(checkpoint, centroid!), error: undefined };
  const members = await Promise.all(group.members.map((expert) => coding.read(checkpoint, expert)));
  const read = (expert: number) => coding.decode(members[group.members.indexOf(expert)]!, backend);
  const merged = await mergeGroup(backend, group, read, { ...merging, dtype: "F32" });
  const stored = coding.encode(backend, merged, members);
  return { stored, error: errorOf(merged, coding.decode(stored, backend)) };
}

/** Squared differences of all matrices, of the squares before. */
function errorOf(before: ExpertTensors, after: ExpertTensors): Share {
  const shares = EXPERT_PARTS.flatMap((part) => {
    if (before[part] === undefined) return [];
    const [old, now] = [decode(before[part]), decode(after[part]!)];
    let [lost, of] = [0, 0];
    for (let i = 0; i < old.length; i++) {
      lost += (old[i]! - now[i]!) ** 2;
      of += old[i]! ** 2;
    }
    return [{ lost, of }];
  });
  return shares.reduce(addShares);
}

/** For people; undefined where nothing was rounded. */
export function requantisedSentence(layers: readonly LayerRequantised[]): string | undefined {
  if (layers.length === 0) return undefined;
  const experts = layers.reduce((sum, layer) => sum + layer.experts, 0);
  const { lost, of } = layers.map(({ error }) => error).reduce(addShares);
  const share = `${((100 * lost) / of).toPrecision(2)} %`;
  return `${experts} merged experts were rounded to the form of the source again, which lost ${share} of their squared weights`;
}
