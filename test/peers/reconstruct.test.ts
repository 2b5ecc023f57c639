import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, test } from "vitest";
import { Residuals } from "../../src/compress/reconstruct/residuals.js";
import { subtractAll, sweep } from "../../src/compress/reconstruct/sweep.js";
import { Random } from "../../src/random.js";
import { MadeExperts, type Sizes } from "../compress/reconstruct/made-experts.js";
import { BACKENDS } from "../compress/weights/matrices.js";

const root = fileURLToPath(new URL("../../", import.meta.url));
const python = join(root, ".peers/bin/python");
const folder = mkdtempSync(join(tmpdir(), "ream-numpy-"));
afterAll(() => rmSync(folder, { recursive: true }));

const pause = async () => undefined;
interface Case {
  readonly ridge: number;
  readonly sizes: Sizes;
  readonly seed: number;
}
const DOWN: readonly Case[] = [0.001, 0.03, 1].flatMap((ridge, i) => [
  { ridge, sizes: { tokens: 300, fitted: 260, experts: 5, topK: 2, columns: 7, hidden: 6 }, seed: i },
  // Fewer tokens than weights: sweeps get there slowly where the ridge is weak.
  { ridge: 30 * ridge, sizes: { tokens: 40, fitted: 30, experts: 4, topK: 3, columns: 12, hidden: 5 }, seed: 10 + i },
]);
const UP: readonly Case[] = [0.01, 0.3].map((ridge, i) => ({
  ...{ ridge, seed: 20 + i },
  sizes: { tokens: 300, fitted: 260, experts: 4, topK: 2, columns: 7, hidden: 6, width: 5 },
}));
const CASES = [...DOWN, ...UP];

function problem({ seed, sizes }: Case) {
  const random = new Random(seed);
  const experts = new MadeExperts(random, sizes);
  const other = experts.first.map((weights) => weights.map((value) => value + random.normal()));
  const targets = Float32Array.from(experts.outputs(other), (value) => value + 0.2 * random.normal());
  return { experts, targets };
}

const rowsOf = (values: Float32Array, columns: number, rows: number) =>
  Array.from({ length: rows }, (_, i) => Array.from(values.subarray(i * columns, (i + 1) * columns)));

// Skipped, and counted as skipped, where the Python peers are not installed (test/peers/README.md).
describe.skipIf(!existsSync(python))("numpy's dense least squares", () => {
  test.each(BACKENDS)("has the weights that sweeps end at: %s", async (_, backend) => {
    const [input, output] = [join(folder, "in.json"), join(folder, "out.json")];
    const cases = CASES.map((one) => {
      const { experts, targets } = problem(one);
      const { fitted, hidden, columns, experts: count, width } = one.sizes;
      return {
        ...{ columns, ridge: one.ridge, start: experts.first.map((weights) => Array.from(weights)) },
        inputs: rowsOf(experts.inputs, count * columns, fitted),
        outputs: rowsOf(targets, hidden, fitted),
        ...(width !== undefined && {
          ...{ width, factors: rowsOf(experts.factors, count * width, fitted) },
          outer: experts.outers.map((weights) => rowsOf(weights, width, hidden)),
        }),
      };
    });
    writeFileSync(input, JSON.stringify(cases));
    execFileSync(python, [join(root, "test/peers/reconstruct_check.py"), input, output]);
    const expected: number[][][] = JSON.parse(readFileSync(output, "utf8"));
    for (const [i, one] of CASES.entries()) {
      const { experts, targets } = problem(one);
      const residuals = new Residuals(targets, one.sizes.hidden, one.sizes.fitted, experts.heldOut);
      await subtractAll(backend, experts, residuals, pause);
      const most = one.sizes.width === undefined ? 400 : 150;
      for (let sweeps = 0; sweeps < most; sweeps++) await sweep(backend, experts, residuals, one.ridge, pause);
      for (const [e, weights] of expected[i]!.entries()) {
        const size = Math.max(...weights.map(Math.abs));
        for (const [j, value] of weights.entries())
          expect(Math.abs(experts.weights(e)[j]! - value) / size).toBeLessThan(1e-5);
      }
    }
  });
});
