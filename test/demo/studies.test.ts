import { readdirSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { packageFolder } from "../../src/package-folder.js";
import { readStudy } from "../../src/study/study-file.js";

const demo = join(packageFolder(), "demo");
const files = readdirSync(demo).filter((name) => name.endsWith(".yaml"));

test.each(files)("%s can be read", async (name) => {
  const { methods, mixes } = await readStudy(join(demo, name));
  expect(methods.length * mixes.length).toBeGreaterThan(1);
});

test("the further models are asked what the demo model is", async () => {
  const asked = async (name: string) => {
    const { title: _, model, modelName: __, ...rest } = await readStudy(join(demo, name));
    return { model, rest };
  };
  const usual = await asked("default-study.yaml");
  for (const name of ["sigmoid", "seed"]) {
    const { model, rest } = await asked(`${name}-study.yaml`);
    expect(rest).toEqual(usual.rest);
    expect(model).toBe(join(demo, "models", name));
  }
});
