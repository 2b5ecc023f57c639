import { notFinite } from "./not-finite.js";
import { noDomainWorse, relative } from "./reconstruct/refit.js";
import type { Residuals } from "./reconstruct/residuals.js";
import type { Share } from "./steps/step-error.js";

/** What a merge changes in the outputs of some held-out tokens, against the group's centroid alone. */
export interface MergeChange {
  /** `[tokens]` */
  readonly rows: Int32Array;
  /** `[tokens, hidden]`: outputs of the merged expert less those of the centroid, times their weights. */
  readonly outputs: Float32Array;
}

/** What is lost of the original block's outputs. */
export interface GuardErrors {
  readonly heldOut: Share;
  readonly domains: Readonly<Record<string, Share>>;
}

/** What came of a merge. */
export interface GuardedMerge {
  readonly kept: boolean;
  /** The layer's error with the merge less that without it, given the other merges, as a share of the outputs. */
  readonly change: number;
}

export interface GuardOutcome {
  readonly merges: readonly GuardedMerge[];
  /** Every group its centroid alone. */
  readonly pruned: GuardErrors;
  /** Every group merged. */
  readonly merged: GuardErrors;
  /** As is kept. */
  readonly after: GuardErrors;
}

export interface GuardProblem {
  /** What is left of held-out tokens' outputs with centroids alone; those of the merges that are kept afterwards. */
  readonly residuals: Residuals;
  readonly merges: number;
  readonly changes: (merge: number) => Promise<readonly MergeChange[]>;
  /** Lets others work; may throw to stop. @param share of the work that is done, roughly */
  readonly pause: (share: number) => Promise<void>;
}

/** Most rounds over all merges: the second one seldom changes anything. */
const ROUNDS = 8;

/**
 * Keeps the merges of a layer that make its held-out outputs better than the centroids alone do. From all merges or none,
 * whichever is better, one after the other is undone where the error does not rise without it, or made where it falls with
 * it, until no more change: each is judged given the others, whose outputs add to its own. A merge that no held-out token sees is
 * undone. No domain loses more than with centroids alone by over a thousandth of its outputs.
 */
export async function guardMerges({ residuals, merges: count, changes, pause }: GuardProblem): Promise<GuardOutcome> {
  const pruned = residuals.errors();
  const made = new Array<boolean>(count).fill(false);
  const changed = new Array<number>(count).fill(0);
  let looked = 0;
  const toggle = async (merge: number, wanted: (difference: Difference) => boolean) => {
    const change = await changes(merge);
    const sign = made[merge] ? -1 : 1;
    const difference = differenceOf(residuals, change, sign);
    changed[merge] = relative({ lost: sign * difference.all, of: pruned.heldOut.of });
    const agreed = wanted(difference);
    if (agreed) {
      for (const { rows, outputs } of change) residuals.subtract(rows, outputs, sign);
      made[merge] = !made[merge];
    }
    await pause(1 - 1 / (1 + ++looked / count));
    return agreed;
  };
  for (let merge = 0; merge < count; merge++) await toggle(merge, () => true);
  const merged = residuals.errors();
  if (!Number.isFinite(pruned.heldOut.lost + merged.heldOut.lost))
    throw notFinite("what a layer's experts make of text");
  const better = relative(merged.heldOut) < relative(pruned.heldOut) && noDomainWorse(merged, pruned);
  if (!better) for (let merge = 0; merge < count; merge++) await toggle(merge, () => true);
  for (let round = 0, last = -1; round < ROUNDS && last !== 0; round++) {
    last = 0;
    for (let merge = 0; merge < count; merge++) {
      const wanted = (difference: Difference) =>
        (made[merge] ? difference.all <= 0 : difference.all < 0) && allowed(residuals.errors(), difference, pruned);
      if (await toggle(merge, wanted)) last++;
    }
  }
  const merges = made.map((kept, merge) => ({ kept, change: changed[merge]! }));
  // What is given back leaves rounding behind.
  return { merges, pruned, merged, after: made.includes(true) ? residuals.errors() : pruned };
}

/** How squared errors change, in all and by domain. */
interface Difference {
  readonly all: number;
  readonly domains: Readonly<Record<string, number>>;
}

/** How the errors change with a merge (sign 1), or without it (-1). */
function differenceOf(residuals: Residuals, changes: readonly MergeChange[], sign: 1 | -1): Difference {
  const domains: Record<string, number> = {};
  let all = 0;
  for (const { rows, outputs } of changes) {
    const now = residuals.take(rows);
    const hidden = now.length / rows.length;
    for (const [i, row] of rows.entries()) {
      let sum = 0;
      for (let j = i * hidden; j < (i + 1) * hidden; j++) {
        const made = sign * outputs[j]!;
        sum += made * (made - 2 * now[j]!);
      }
      const { domain } = residuals.heldOut.find(({ begin, end }) => row >= begin && row < end)!;
      domains[domain] = (domains[domain] ?? 0) + sum;
      all += sum;
    }
  }
  return { all, domains };
}

/** Whether a change leaves every domain with an error that it may have. */
function allowed({ domains }: GuardErrors, difference: Difference, most: GuardErrors): boolean {
  const after = Object.entries(domains).map(
    ([domain, { lost, of }]) => [domain, { lost: lost + (difference.domains[domain] ?? 0), of }] as const,
  );
  return noDomainWorse({ domains: Object.fromEntries(after) }, most);
}
