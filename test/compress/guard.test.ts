import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type GuardOutcome, guardMerges, type MergeChange } from "../../src/compress/guard.js";
import { relative } from "../../src/compress/reconstruct/refit.js";
import { type HeldOutRows, Residuals } from "../../src/compress/reconstruct/residuals.js";
import { Random } from "../../src/random.js";

const HIDDEN = 3;
const pause = async () => undefined;

interface Made {
  readonly rows: number;
  readonly heldOut: readonly HeldOutRows[];
  /** `[rows, hidden]`: of the original, and what centroids alone leave of it. */
  readonly outputs: Float32Array;
  readonly left: Float32Array;
  readonly changes: readonly (readonly MergeChange[])[];
}

/** Merges that each change a third of the tokens by something between what is left there and noise. */
function made(random: Random, rows: number, count: number): Made {
  const normals = (length: number) => Float32Array.from({ length }, () => random.normal());
  const left = normals(rows * HIDDEN);
  const changes = Array.from({ length: count }, () => {
    const own = [...random.permutation(rows).slice(0, Math.ceil(rows / 3))].sort((a, b) => a - b);
    const share = random.next();
    // In two pieces, as those of chunks are.
    return [own.slice(0, 2), own.slice(2)].map((some) => ({
      rows: Int32Array.from(some),
      outputs: Float32Array.from({ length: some.length * HIDDEN }, (_, i) => {
        const at = some[Math.floor(i / HIDDEN)]! * HIDDEN + (i % HIDDEN);
        return 0.5 * share * left[at]! + 0.4 * random.normal();
      }),
    }));
  });
  const half = Math.floor(rows / 2);
  const heldOut = [
    { domain: "a", begin: 0, end: half },
    { domain: "b", begin: half, end: rows },
  ];
  return { rows, heldOut, outputs: left.map((value) => value + 2 * random.normal()), left, changes };
}

async function guard({ heldOut, outputs, left, changes }: Made): Promise<GuardOutcome> {
  const residuals = new Residuals(outputs.slice(), HIDDEN, 0, heldOut);
  const rows = Int32Array.from({ length: outputs.length / HIDDEN }, (_, row) => row);
  residuals.subtract(
    rows,
    outputs.map((value, i) => value - left[i]!),
  );
  return guardMerges({ residuals, merges: changes.length, changes: async (merge) => changes[merge]!, pause });
}

/** What is lost of the rows `[begin, end)` with some merges, as a share of the outputs. */
function lostOf({ outputs, left, changes }: Made, kept: readonly boolean[], begin: number, end: number): number {
  const now = Float64Array.from(left);
  for (const [merge, own] of changes.entries()) {
    if (!kept[merge]) continue;
    for (const { rows, outputs: changed } of own) {
      for (const [i, row] of rows.entries()) {
        for (let j = 0; j < HIDDEN; j++) now[row * HIDDEN + j]! -= changed[i * HIDDEN + j]!;
      }
    }
  }
  const squares = (values: ArrayLike<number>) =>
    Array.from(values)
      .slice(begin * HIDDEN, end * HIDDEN)
      .reduce((sum, value) => sum + value ** 2, 0);
  return squares(now) / squares(outputs);
}

describe("guardMerges", () => {
  test("tells the errors of centroids alone, of all merges and of those that are kept", async () => {
    const layer = made(new Random(1), 60, 6);
    const { merges, pruned, merged, after } = await guard(layer);
    const kept = merges.map((merge) => merge.kept);
    for (const [errors, all] of [
      [pruned, kept.map(() => false)],
      [merged, kept.map(() => true)],
      [after, kept],
    ] as const) {
      expect(relative(errors.heldOut)).toBeCloseTo(lostOf(layer, all, 0, 60), 5);
      expect(relative(errors.domains.a!)).toBeCloseTo(lostOf(layer, all, 0, 30), 5);
      expect(relative(errors.domains.b!)).toBeCloseTo(lostOf(layer, all, 30, 60), 5);
    }
    // Both ways are there, so that this says something.
    expect(new Set(kept).size).toBe(2);
    for (const [merge, { kept: own, change }] of merges.entries()) {
      const other = kept.with(merge, !own);
      const difference = lostOf(layer, kept, 0, 60) - lostOf(layer, other, 0, 60);
      expect(change).toBeCloseTo(own ? difference : -difference, 5);
    }
  });

  test("merges that touch no token of another one are judged as a search of all choices would", async () => {
    const random = new Random(2);
    const layer = made(random, 60, 5);
    const apart = layer.changes.map((own, merge) =>
      own.map(({ outputs }) => {
        const rows = Int32Array.from({ length: Math.min(6, outputs.length / HIDDEN) }, (_, i) => merge + 5 * i);
        return { rows, outputs: outputs.subarray(0, rows.length * HIDDEN) };
      }),
    );
    const own = { ...layer, changes: apart.map(([first]) => [first!]) };
    const { merges } = await guard(own);
    const choices = Array.from({ length: 2 ** 5 }, (_, n) => Array.from({ length: 5 }, (_, i) => ((n >> i) & 1) === 1));
    const best = choices.reduce((a, b) => (lostOf(own, b, 0, 60) < lostOf(own, a, 0, 60) ? b : a));
    expect(merges.map(({ kept }) => kept)).toEqual(best);
  });

  test("never worse than centroids alone, in no domain by over a thousandth, and no single change would help", async () => {
    const cases = fc.record({ seed: fc.nat(), count: fc.integer({ min: 1, max: 8 }) });
    let undone = 0;
    await fc.assert(
      fc.asyncProperty(cases, async ({ seed, count }) => {
        const layer = made(new Random(seed), 40, count);
        const { merges, pruned, after } = await guard(layer);
        const kept = merges.map((merge) => merge.kept);
        undone += kept.filter((own) => !own).length;
        expect(relative(after.heldOut)).toBeLessThanOrEqual(relative(pruned.heldOut) + 1e-6);
        for (const domain of ["a", "b"])
          expect(relative(after.domains[domain]!)).toBeLessThanOrEqual(
            relative(pruned.domains[domain]!) + 0.001 + 1e-6,
          );
        for (const merge of kept.keys()) {
          const other = kept.with(merge, !kept[merge]!);
          const allowed = [
            [0, 20, "a"],
            [20, 40, "b"],
          ].every(
            ([begin, end, domain]) =>
              lostOf(layer, other, Number(begin), Number(end)) <=
              relative(pruned.domains[domain as string]!) + 0.001 - 1e-6,
          );
          if (allowed) expect(lostOf(layer, other, 0, 40)).toBeGreaterThanOrEqual(relative(after.heldOut) - 1e-6);
        }
      }),
      { numRuns: 40, seed: 3 },
    );
    expect(undone).toBeGreaterThan(0);
  });

  test("a merge that makes one domain much worse is undone, however much the other gains", async () => {
    const left = new Float32Array(8 * HIDDEN).fill(1);
    // Makes good all that the first four tokens lack, and doubles what the others do.
    const outputs = Float32Array.from(left, (_, i) => (i < 4 * HIDDEN ? 1 : -0.2));
    const heldOut = [
      { domain: "a", begin: 0, end: 4 },
      { domain: "b", begin: 4, end: 8 },
    ];
    const changes = [[{ rows: Int32Array.from({ length: 8 }, (_, row) => row), outputs }]];
    const { merges } = await guard({ rows: 8, heldOut, outputs: left.map(() => 3), left, changes });
    expect(merges[0]!.change).toBeLessThan(0);
    expect(merges[0]!.kept).toBe(false);
  });

  test("a merge that no held-out token sees is undone", async () => {
    const layer = made(new Random(5), 20, 1);
    const good = [{ rows: Int32Array.of(3), outputs: layer.left.slice(9, 12) }];
    const { merges } = await guard({ ...layer, changes: [good, []] });
    expect(merges).toEqual([
      { kept: true, change: expect.any(Number) },
      { kept: false, change: 0 },
    ]);
  });

  test("numbers that are not finite are an error", async () => {
    const layer = made(new Random(6), 20, 1);
    const bad = [{ rows: Int32Array.of(0), outputs: Float32Array.of(NaN, 0, 0) }];
    await expect(guard({ ...layer, changes: [bad] })).rejects.toMatchObject({ code: "NOT_FINITE" });
  });
});
