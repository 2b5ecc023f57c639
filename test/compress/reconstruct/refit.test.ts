import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { LinearExperts } from "../../../src/compress/reconstruct/problem.js";
import { type RefitOptions, refit, relative } from "../../../src/compress/reconstruct/refit.js";
import { Residuals } from "../../../src/compress/reconstruct/residuals.js";
import { subtractAll, sweep } from "../../../src/compress/reconstruct/sweep.js";
import type { Backend } from "../../../src/engine/backend.js";
import { Random } from "../../../src/random.js";
import { BACKENDS, normals } from "../weights/matrices.js";
import { MadeExperts, type Sizes } from "./made-experts.js";

const pause = async () => undefined;

/** Refits experts of which nothing has been taken from the outputs yet. */
async function refitAll(
  backend: Backend,
  experts: LinearExperts,
  residuals: Residuals,
  options: Pick<RefitOptions, "ridges" | "sweeps">,
) {
  await subtractAll(backend, experts, residuals, pause);
  const most = residuals.errors();
  // The middle one first, so that both stronger and weaker ones follow.
  const first = Math.floor(options.ridges.length / 2);
  return refit(backend, experts, residuals, { ...options, first, onTheWay: 1, most, goesOn: true, pause });
}
const SIZES: Sizes = { tokens: 240, fitted: 200, experts: 4, topK: 2, columns: 6, hidden: 5 };
/** With something fixed behind the weights, as down projections are behind up projections. */
const GATED: Sizes = { ...SIZES, width: 3 };
/** Every problem with each backend. */
const KINDS = BACKENDS.flatMap(([name, backend]) => [
  { name: `down, ${name}`, backend, base: SIZES },
  { name: `up, ${name}`, backend, base: GATED },
]);

/** y: what other weights would make of the inputs, and noise. */
function targetsOf(experts: MadeExperts, random: Random, noise: number): Float32Array {
  const other = experts.first.map((weights) => weights.map((value) => value + 0.5 * random.normal()));
  return Float32Array.from(experts.outputs(other), (value) => value + noise * random.normal());
}

describe.each(KINDS)("$name", ({ backend, base }) => {
  test.each([0.001, 0.1, 3])(
    "sweeps end where the gradient of the whole problem is 0, at a ridge of %f",
    async (ridge) => {
      const random = new Random(1);
      const experts = new MadeExperts(random, base);
      const targets = targetsOf(experts, random, 0.3);
      const residuals = new Residuals(targets.slice(), base.hidden, base.fitted, experts.heldOut);
      await subtractAll(backend, experts, residuals, pause);
      for (let i = 0; i < 100; i++) await sweep(backend, experts, residuals, ridge, pause);
      const outputs = experts.outputs();
      const { columns, hidden } = base;
      for (let e = 0; e < base.experts; e++) {
        const size = experts.start(e).length;
        const gradient = new Float64Array(size);
        let trace = 0;
        for (const { rows } of experts.pieces(e, "fitted")) {
          for (const row of rows) {
            const left = Float64Array.from(
              { length: hidden },
              (_, h) => targets[row * hidden + h]! - outputs[row * hidden + h]!,
            );
            for (const [i, value] of experts.gradient(row, e, left).entries()) gradient[i]! += value;
            // The diagonal of the Gram matrix: squares of what a weight of 1 makes.
            for (let h = 0; h < hidden; h++) {
              const unit = new Float64Array(hidden);
              unit[h] = 1;
              trace += experts.gradient(row, e, unit).reduce((sum, value) => sum + value ** 2, 0);
            }
          }
        }
        // Without anything behind, an output's weights are a problem of their own, with the same Gram matrix.
        const lambda = (ridge * trace) / size;
        const mean = trace / size;
        for (const [i, value] of gradient.entries()) {
          const held = lambda * (experts.weights(e)[i]! - experts.start(e)[i]!);
          expect(Math.abs(value - held) / (mean * columns)).toBeLessThan(1e-5);
        }
      }
    },
  );

  test("a ridge without end gives the weights of the start", async () => {
    const random = new Random(2);
    const experts = new MadeExperts(random, base);
    const residuals = new Residuals(targetsOf(experts, random, 0.1), base.hidden, base.fitted, experts.heldOut);
    await refitAll(backend, experts, residuals, { ridges: [1e9], sweeps: 3 });
    for (let e = 0; e < experts.count; e++) {
      const weights = experts.weights(e);
      for (const [i, value] of experts.start(e).entries()) expect(weights[i]).toBeCloseTo(value, 6);
    }
  });

  test("weights that lose nothing stay as they are", async () => {
    const experts = new MadeExperts(new Random(3), base, "BF16");
    const residuals = new Residuals(Float32Array.from(experts.outputs()), base.hidden, base.fitted, experts.heldOut);
    await refitAll(backend, experts, residuals, { ridges: [0.1, 0.001], sweeps: 3 });
    for (let e = 0; e < experts.count; e++) expect(experts.weights(e)).toEqual(experts.start(e));
  });

  test("the held-out error never rises, and is that of the weights that are left", async () => {
    const cases = fc.record({
      seed: fc.nat(),
      // From tokens enough to fewer than there are weights.
      fitted: fc.constantFrom(5, 20, 150),
      noise: fc.constantFrom(0, 0.3, 10),
      dtype: fc.constantFrom("F32" as const, "BF16" as const),
    });
    let [kept, left] = [0, 0];
    await fc.assert(
      fc.asyncProperty(cases, async ({ seed, fitted, noise, dtype }) => {
        const random = new Random(seed);
        const sizes = { ...base, fitted, tokens: fitted + 30 };
        const experts = new MadeExperts(random, sizes, dtype);
        const targets = targetsOf(experts, random, noise);
        const residuals = new Residuals(targets.slice(), base.hidden, fitted, experts.heldOut);
        const result = await refitAll(backend, experts, residuals, { ridges: [1, 0.1, 0.01], sweeps: 4 });
        const { before, after } = result;
        if (result.kept) {
          kept++;
          expect(after.heldOut.lost).toBeLessThan(before.heldOut.lost);
          for (const [domain, share] of Object.entries(after.domains))
            expect(relative(share)).toBeLessThanOrEqual(relative(before.domains[domain]!) + 0.001);
        } else {
          left++;
          for (let e = 0; e < experts.count; e++) expect(experts.weights(e)).toEqual(experts.start(e));
        }
        const outputs = experts.outputs();
        let lost = 0;
        for (let i = fitted * base.hidden; i < targets.length; i++) lost += (targets[i]! - outputs[i]!) ** 2;
        expect(Math.abs(lost / after.heldOut.lost - 1)).toBeLessThan(1e-3);
        // The residuals are those of the weights that are left.
        expect(Math.abs(residuals.errors().heldOut.lost / after.heldOut.lost - 1)).toBeLessThan(1e-3);
      }),
      { numRuns: 30, seed: 7 },
    );
    expect(kept).toBeGreaterThan(0);
    expect(left).toBeGreaterThan(0);
  });
});

test.each([SIZES, GATED])("an expert without tokens keeps its weights: %j", async (sizes) => {
  const [, backend] = BACKENDS[0]!;
  const random = new Random(4);
  const experts = new MadeExperts(random, sizes);
  const pieces = experts.pieces.bind(experts);
  experts.pieces = function* (expert, part) {
    if (expert !== 1) yield* pieces(expert, part);
  };
  const residuals = new Residuals(normals(random, 240 * 5), sizes.hidden, sizes.fitted, experts.heldOut);
  await sweep(backend, experts, residuals, 0.1, pause);
  expect(experts.weights(1)).toBe(experts.start(1));
  expect(experts.weights(0)).not.toEqual(experts.start(0));
});
