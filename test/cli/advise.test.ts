import { join } from "node:path";
import { expect, test } from "vitest";
import { type Advice, advise } from "../../src/index.js";
import { GOLDENS } from "../support/goldens.js";
import { ream } from "./ream.js";

const model = join(GOLDENS, "forward/qwen3_moe");
const OPTIONS = ["--fit", "350kB", "--context", "64", "--sampled-experts", "2"];

test("a table for people, whose predictions are called so in every line", async () => {
  const { stdout, stderr, status } = await ream(["advise", model, ...OPTIONS, "--rows", "100"]);
  expect(status).toBe(0);
  expect(stderr).toBe("");
  expect(stdout).toMatch(
    /^memory = tensors \+ keys and values of 64 tokens .* \+ 35\.0 kB for activations and the engine$/m,
  );
  expect(stdout).toMatch(/^\d+ of \d+ options fit 350 kB$/m);
  const lines = stdout.split("\n").filter((line) => /^ +\d+ (--experts|none)/.test(line));
  const { options } = await advise({ model, fit: "350kB", context: 64, sampledExperts: 2 });
  expect(lines).toHaveLength(options.length);
  for (const line of lines)
    expect(line).toMatch(line.includes("none:") ? /it is the original$/ : / d [\d.e-]+, r [\d.e-]+ +PREDICTED: /);
  expect(lines.some((line) => / (\d+ B|[\d.]+ kB) too large /.test(line))).toBe(true);
  expect(stdout).toContain("int4-g128 is no option: ");
  const best = options.find(({ fits, command }) => fits && command !== undefined)!;
  expect(stdout).toContain(`  ${best.command}\n`);
});

test("--rows, --json", async () => {
  const short = (await ream(["advise", model, ...OPTIONS, "--rows", "3"])).stdout;
  expect(short).toMatch(/^\d+ more: --rows, --json$/m);
  const json = JSON.parse((await ream(["advise", model, ...OPTIONS, "--json"])).stdout) as Advice;
  const direct = await advise({ model, fit: "350kB", context: 64, sampledExperts: 2 });
  expect(json).toEqual(JSON.parse(JSON.stringify(direct)));
});

test("wrong usage", async () => {
  const missing = await ream(["advise", model]);
  expect(missing.stderr).toContain("OPTION_MISSING");
  expect(missing.status).toBe(2);
  const wrong = await ream(["advise", model, "--fit", "24 gallons"]);
  expect(wrong.stderr).toContain("OPTION_INVALID");
  expect(wrong.status).toBe(2);
  const method = await ream(["advise", model, "--fit", "1GB", "--method", "magic"]);
  expect(method.status).toBe(2);
  const results = await ream(["advise", model, "--fit", "1GB", "--results", model]);
  expect(results.stderr).toContain("RESULTS_READ");
  expect(results.status).toBe(1);
});
