import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, test } from "vitest";
import { Random } from "../../src/random.js";
import { pearson } from "../../src/study/analysis/correlation.js";
import { hypervolume } from "../../src/study/analysis/hypervolume.js";
import { paretoFrontier } from "../../src/study/analysis/pareto.js";
import type { Place } from "../../src/study/analysis/points.js";
import { kendall, spearman } from "../../src/study/analysis/rank-quality.js";

const root = fileURLToPath(new URL("../../", import.meta.url));
const python = join(root, ".peers/bin/python");
const folder = mkdtempSync(join(tmpdir(), "ream-pymoo-"));
afterAll(() => rmSync(folder, { recursive: true }));

interface Found {
  readonly frontier: readonly number[];
  readonly hypervolume: number;
  readonly pearson: readonly [r: number | null, p: number | null];
  readonly spearman: number | null;
  readonly kendall: number | null;
}

/** Sets of 3 to 40 points of per cent: half with all digits, half with one, in a range so small that many are equal. */
const random = new Random(2026);
const sets = Array.from({ length: 1000 }, (_, i) => {
  const range = i % 4 === 1 ? 0.4 : 5;
  const score = () => (i % 2 === 0 ? 100 * random.next() : Math.round(600 + 10 * range * random.next()) / 10);
  const points = Array.from({ length: 3 + random.below(38) }, (): Place => ({ mc: score(), gen: score() }));
  return { points, reference: { mc: 30 + random.below(35), gen: 30 + random.below(35) } };
});

describe.skipIf(!existsSync(python))("pymoo and scipy on 1,000 sets of points", () => {
  const [input, output] = [join(folder, "in.json"), join(folder, "out.json")];
  const asked = sets.map(({ points, reference }) => ({
    points: points.map(({ mc, gen }) => [mc, gen]),
    reference: [reference.mc, reference.gen],
  }));
  let known: readonly Found[] | undefined;
  const found = () => {
    if (known === undefined) {
      writeFileSync(input, JSON.stringify(asked));
      execFileSync(python, ["-W", "ignore", join(root, "test/peers/pymoo_check.py"), input, output]);
      known = JSON.parse(readFileSync(output, "utf8")) as Found[];
    }
    return known;
  };

  test("find the same frontiers", () => {
    expect(sets.map(({ points }) => paretoFrontier(points).sort((a, b) => a - b))).toEqual(
      found().map(({ frontier }) => frontier),
    );
  });

  test("find the same hypervolumes", () => {
    sets.forEach(({ points, reference }, i) => {
      const expected = found()[i]!.hypervolume;
      expect(Math.abs(hypervolume(points, reference) - expected)).toBeLessThanOrEqual(1e-12 * Math.max(1, expected));
    });
  });

  test("find the same correlations, of values and of ranks", () => {
    sets.forEach(({ points }, i) => {
      const [mc, gen] = [points.map((point) => point.mc), points.map((point) => point.gen)];
      const expected = found()[i]!;
      near(spearman(mc, gen), expected.spearman);
      near(kendall(mc, gen), expected.kendall);
      const correlation = pearson(mc, gen);
      near(correlation?.r, expected.pearson[0]);
      near(correlation?.p, expected.pearson[1]);
    });
  });
});

function near(value: number | undefined, expected: number | null): void {
  if (expected === null) expect(value).toBeUndefined();
  else expect(Math.abs(value! - expected)).toBeLessThan(1e-9);
}
