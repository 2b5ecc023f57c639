import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, test } from "vitest";
import { inspect } from "../../src/pipeline/inspect.js";
import { forwardCases } from "../support/goldens.js";

const here = fileURLToPath(new URL(".", import.meta.url));
const python = join(here, "../../.peers/bin/python");
const folder = mkdtempSync(join(tmpdir(), "ream-parameters-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Of MiniMax's decay tables, which follow from a formula, transformers has none of layers with attention. */
const GOLDENS = forwardCases().filter(([name]) => !/fp8|mxfp4|^minimax$/.test(name));
/** Of their other parts they have some tensors alone, which transformers leaves out. */
const STAND_INS = ["llama4_text", "qwen3_5_moe"];
/** Experts in a latent space, queries through a small vector. */
const MADE = ["nemotron_h.latent", "kimi_linear.groups"];

// Skipped, and counted as skipped, where the Python peers are not installed (test/peers/README.md).
describe.skipIf(!existsSync(python))("parameters, all and active ones", () => {
  test("are those that transformers has, and those that a token has gradients of", async () => {
    const make = [join(here, "make_family_models.py"), folder, ...MADE];
    execFileSync(python, make, { stdio: ["ignore", "ignore", "pipe"] });
    const paths = [...GOLDENS.map(([, path]) => path), ...MADE.map((name) => join(folder, name))];
    const script = [join(here, "parameters_check.py"), ...paths];
    const found = JSON.parse(
      execFileSync(python, script, { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"], maxBuffer: 2 ** 26 }),
    ) as { parameters: number; active: number }[];
    const ours = await Promise.all(
      paths.map(async (path, i) => {
        const { textParameters, otherParts } = await inspect(path);
        const others = STAND_INS.includes(GOLDENS[i]?.[0] ?? "") ? [] : Object.values(otherParts);
        const more = others.reduce((sum, { parameters }) => sum + parameters, 0);
        return { path, parameters: textParameters.total + more, active: textParameters.active + more };
      }),
    );
    expect(ours).toEqual(found.map((counts, i) => ({ path: paths[i], ...counts })));
  }, 600_000);
});
