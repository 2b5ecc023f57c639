import { join } from "node:path";
import { expect, test } from "vitest";
import { candidateCommand, candidateKey, candidatesOf } from "../../src/advise/candidates.js";
import { describeModel } from "../../src/model/describe.js";
import { GOLDENS, readJson } from "../support/goldens.js";

const config = (name: string, changes: object = {}) =>
  describeModel({ ...readJson<object>(join(GOLDENS, "forward", name, "config.json")), ...changes });

test("every number of experts with every method and format, each once", () => {
  const model = config("qwen3_moe", { num_experts: 128, num_experts_per_tok: 8 });
  const candidates = candidatesOf(model, ["ream", "reap"], ["int8", "fp8"]);
  expect(candidates).toHaveLength((1 + 2 * 5) * 3);
  expect(new Set(candidates.map(candidateKey)).size).toBe(candidates.length);
  expect([...new Set(candidates.map(({ experts }) => experts))]).toEqual([128, 112, 96, 80, 64, 32]);
  expect(candidates[0]).toEqual({ experts: 128, method: undefined, format: undefined });
  for (const { experts, method } of candidates) expect(method === undefined).toBe(experts === 128);
});

test("numbers of experts that the router can work with", () => {
  const model = config("deepseek_v3", {
    ...{ n_routed_experts: 72, n_group: 8, topk_group: 4, num_experts_per_tok: 8 },
  });
  const counts = new Set(candidatesOf(model, ["reap"], []).map(({ experts }) => experts));
  expect([...counts]).toEqual([72, 64, 56, 48, 40, 16]);
});

test("the command that makes a candidate", () => {
  const candidate = { experts: 96, method: "reap", format: "int4-g128" } as const;
  expect(candidateCommand("org/name@main", candidate)).toBe(
    "ream compress org/name@main --experts 96 --method reap --then int4-g128 --out DIR",
  );
  expect(candidateCommand("it's here", { ...candidate, method: undefined, format: "fp8" })).toBe(
    "ream compress 'it'\\''s here' --experts 96 --then fp8 --out DIR",
  );
  expect(candidateCommand("m", { ...candidate, solver: "gptq" })).toContain(" --then gptq:int4-g128 ");
  expect(candidateKey({ ...candidate, solver: "gptq" })).not.toBe(candidateKey(candidate));
  expect(candidateCommand("m", { experts: 96, method: undefined, format: undefined })).toBeUndefined();
});
