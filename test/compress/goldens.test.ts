import { readdirSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { BACKENDS } from "../support/backends.js";
import { GOLDEN_ROOTS } from "../support/goldens.js";
import { BFLOAT16_VARIANT, VARIANTS, variantDeviation } from "../support/ream-golden.js";

/** Reference data of a model in one of the sets: its folder and variants. */
const sets = GOLDEN_ROOTS.flatMap((root, i) =>
  readdirSync(join(root, "ream")).map((model) => {
    const folder = join(root, "ream", model);
    const found = ["official", "paper"].flatMap((kind) =>
      readdirSync(join(folder, kind)).map((name) => `${kind}/${name}`),
    );
    return { model: i === 0 ? model : `${model}, complete set`, folder, found };
  }),
);

test("every variant of the reference data is known, and all are there for qwen3_moe", () => {
  for (const { model, found } of sets) {
    expect(found.filter((variant) => !(variant in VARIANTS))).toEqual([]);
    if (model.startsWith("qwen3_moe")) expect(found.sort()).toEqual(Object.keys(VARIANTS).sort());
  }
});

const runs = sets.flatMap((set) =>
  Object.entries(BACKENDS).map(([name, create]) => ({ name: `${set.model}, ${name}`, create, ...set })),
);

describe.each(runs)("$name", ({ create, folder, found }) => {
  test.each(found.filter((variant) => variant !== BFLOAT16_VARIANT))("%s", async (variant) => {
    const deviation = await variantDeviation(folder, variant, create("f32"));
    expect(deviation.mismatches).toEqual([]);
    expect(deviation.saliency).toBeLessThan(1e-4);
    expect(deviation.similarity).toBeLessThan(1e-4);
    expect(deviation.costs).toBeLessThan(2e-5);
    expect(deviation.weights).toBeLessThan(2e-5);
    expect(deviation.merged).toBeLessThan(2e-5);
  });

  if (!found.includes(BFLOAT16_VARIANT)) return;
  test(`${BFLOAT16_VARIANT}: the same groups and permutations, weights within bfloat16's rounding`, async () => {
    const deviation = await variantDeviation(folder, BFLOAT16_VARIANT, create("f32"));
    expect(deviation.mismatches).toEqual([]);
    // The largest weights are between 1 and 2: 2^-6 of them.
    expect(deviation.merged).toBeLessThan(2 ** -6);
    expect(deviation.saliency).toBeLessThan(0.05);
  });
});
