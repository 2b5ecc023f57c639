import { readdirSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { BACKENDS } from "../support/backends.js";
import { GOLDEN_ROOTS } from "../support/goldens.js";
import { BFLOAT16_VARIANT, VARIANTS, variantDeviation } from "../support/ream-golden.js";

const folders = GOLDEN_ROOTS.map((root) => join(root, "ream/qwen3_moe"));
const float32 = Object.keys(VARIANTS).filter((variant) => variant !== BFLOAT16_VARIANT);

test("every variant of the reference data is covered", () => {
  for (const folder of folders) {
    const found = ["official", "paper"].flatMap((kind) =>
      readdirSync(join(folder, kind)).map((name) => `${kind}/${name}`),
    );
    expect(found.sort()).toEqual(Object.keys(VARIANTS).sort());
  }
});

const runs = folders.flatMap((folder, i) =>
  Object.entries(BACKENDS).map(([name, create]) => ({
    name: i === 0 ? name : `${name}, complete set`,
    create,
    folder,
  })),
);

describe.each(runs)("$name", ({ create, folder }) => {
  test.each(float32)("%s", async (variant) => {
    const deviation = await variantDeviation(folder, variant, create("f32"));
    expect(deviation.mismatches).toEqual([]);
    expect(deviation.saliency).toBeLessThan(1e-4);
    expect(deviation.similarity).toBeLessThan(1e-4);
    expect(deviation.costs).toBeLessThan(2e-5);
    expect(deviation.weights).toBeLessThan(2e-5);
    expect(deviation.merged).toBeLessThan(2e-5);
  });

  test(`${BFLOAT16_VARIANT}: the same groups and permutations, weights within bfloat16's rounding`, async () => {
    const deviation = await variantDeviation(folder, BFLOAT16_VARIANT, create("f32"));
    expect(deviation.mismatches).toEqual([]);
    // The largest weights are between 1 and 2: 2^-6 of them.
    expect(deviation.merged).toBeLessThan(2 ** -6);
    expect(deviation.saliency).toBeLessThan(0.05);
  });
});
