import { Random } from "../../random.js";
import { CONFIDENCE, type Parts } from "./difference.js";
import { type Averages, averagesOf, type JudgedTask } from "./judged.js";

/** A pair of runs of one task, on the same items. */
export interface TaskPair {
  readonly original: JudgedTask;
  readonly compressed: JudgedTask;
}

/**
 * Percentile intervals of the differences of the averages: the items of every task are drawn again with replacement, the
 * same ones for both runs. It needs no assumption about how the differences are spread.
 * @param seed of the draws; the same seed gives the same intervals whatever the order of the tasks.
 */
export function bootstrapAverages(
  pairs: readonly TaskPair[],
  seed: number,
  resamples = 2000,
): Averages<readonly [low: number, high: number]> {
  const sorted = [...pairs].sort((a, b) => (a.original.name < b.original.name ? -1 : 1));
  const drawn = sorted.map(({ original, compressed }, i) => ({
    suite: original.suite,
    value: redrawn(changes(original.items, compressed.items), new Random(seed + i), resamples),
  }));
  const mean = (members: readonly Float64Array[]) =>
    Float64Array.from({ length: resamples }, (_, i) => {
      return members.reduce((sum, member) => sum + member[i]!, 0) / members.length;
    });
  const averages = averagesOf(drawn, mean);
  return Object.fromEntries(Object.entries(averages).map(([name, values]) => [name, percentiles(values)]));
}

interface Changes {
  /** Sum of an item's differences, and how many parts it has. */
  readonly sums: Float64Array;
  readonly sizes: Float64Array;
}

function changes(original: readonly { parts: Parts }[], compressed: readonly { parts: Parts }[]): Changes {
  return {
    sums: Float64Array.from(original, ({ parts }, i) =>
      parts.reduce((sum, part, j) => sum + compressed[i]!.parts[j]! - part, 0),
    ),
    sizes: Float64Array.from(original, ({ parts }) => parts.length),
  };
}

function redrawn({ sums, sizes }: Changes, random: Random, resamples: number): Float64Array {
  return Float64Array.from({ length: resamples }, () => {
    let [sum, size] = [0, 0];
    for (let i = 0; i < sums.length; i++) {
      const drawn = random.below(sums.length);
      sum += sums[drawn]!;
      size += sizes[drawn]!;
    }
    return sum / size;
  });
}

/** Ends of the interval of 95 %, with numpy's linear interpolation. */
export function percentiles(values: Float64Array): readonly [low: number, high: number] {
  const sorted = Float64Array.from(values).sort();
  const at = (share: number) => {
    const place = share * (sorted.length - 1);
    const below = Math.floor(place);
    const next = sorted[Math.min(below + 1, sorted.length - 1)]!;
    return sorted[below]! + (place - below) * (next - sorted[below]!);
  };
  return [at((1 - CONFIDENCE) / 2), at((1 + CONFIDENCE) / 2)];
}
