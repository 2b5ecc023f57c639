/** How resamples are drawn. The same seed gives the same ones. */
export interface Draws {
  readonly seed: number;
  readonly resamples: number;
}

/** A model's averages in each resample, in per cent. [resamples] */
export interface RedrawnScores {
  readonly mc: Float64Array;
  readonly gen: Float64Array;
  readonly avg: Float64Array;
}

/** Each task counted once in its suite, and each suite once. */
export function averagesOfTasks(
  tasks: readonly { readonly suite: "mc" | "gen"; readonly score: Float64Array }[],
): RedrawnScores {
  const [mc, gen] = (["mc", "gen"] as const).map((suite) =>
    meanOf(tasks.filter((task) => task.suite === suite).map(({ score }) => score)),
  ) as [Float64Array, Float64Array];
  return { mc, gen, avg: meanOf([mc, gen]) };
}

/** Means over the members, resample by resample. */
export function meanOf(members: readonly Float64Array[]): Float64Array {
  return members[0]!.map((_, i) => members.reduce((sum, member) => sum + member[i]!, 0) / members.length);
}

export function differenceOf(first: Float64Array, second: Float64Array): Float64Array {
  return first.map((value, i) => value - second[i]!);
}
