import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { PAPER_MIXES } from "../../src/calibration/paper-mixes.js";
import { observe } from "../../src/observe/observe.js";
import type { ObserveOptions } from "../../src/observe/options.js";
import { plan } from "../../src/observe/plan.js";
import { reamKilled } from "../support/command.js";
import { folderDigest } from "../support/folder-digest.js";
import { dryPlan, groups, MODEL, permutations, TEXT } from "./demo-text.js";

const folder = mkdtempSync(join(tmpdir(), "ream-observe-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const observed = join(folder, "observed");

async function finish<T>(run: AsyncGenerator<unknown, T>): Promise<T> {
  for (let step = await run.next(); ; step = await run.next()) if (step.done) return step.value;
}

function observeTo(out: string, options: Partial<ObserveOptions> = {}) {
  return finish(observe({ model: MODEL, ...TEXT, out, ...options }));
}

beforeAll(async () => {
  await observeTo(observed);
});

test("with hidden states in files the same sums come out, and the files go", async () => {
  const [plain, filed] = [join(folder, "plain"), join(folder, "filed")];
  const text = { sequences: 64, length: 64, mix: ["general=0.5,math=0.5"], domain: TEXT.domain.slice(0, 2) };
  await observeTo(plain, text);
  const tooLittle = observeTo(filed, { ...text, memoryLimit: "100MB" });
  await expect(tooLittle).rejects.toMatchObject({ code: "MEMORY_LIMIT" });
  // What is needed without them: found from what a refusal says.
  const message = await observeTo(filed, { ...text, memoryLimit: "1MB" }).catch(({ message }: Error) => message);
  const megabytes = Number(/^([\d.]+) MB/.exec(String(message))![1]);
  const notes: string[] = [];
  const run = observe({ model: MODEL, ...TEXT, ...text, out: filed, memoryLimit: `${megabytes + 1}MB` });
  for await (const event of run) if (event.type === "note") notes.push(event.message);
  expect(notes).toContainEqual(expect.stringMatching(/Hidden states, .* are kept in a file/));
  expect(folderDigest(filed)).toEqual(folderDigest(plain));
});

describe("plans from an observation are those of direct, non-sequential runs", () => {
  test.each(PAPER_MIXES)("ream, %s: same groups, weights and permutations", async (mix) => {
    const common = { method: "ream", experts: 48, mix } as const;
    const direct = await dryPlan({ ...TEXT, ...common, sequential: false });
    const indirect = await dryPlan({ ...common, observed });
    expect(groups(indirect.plan)).toEqual(groups(direct.plan));
    expect(permutations(indirect.plan)).toEqual(permutations(direct.plan));
    // Without the model there are groups and weights.
    expect(groups((await finish(plan({ observed, ...common }))).plan)).toEqual(groups(direct.plan));
  });

  test.each(["reap", "frequency", "m-smoe", "hc-smoe"] as const)("%s, another number of experts", async (method) => {
    const mix = PAPER_MIXES[4]!;
    const common = { method, experts: 40, mix } as const;
    const direct = await dryPlan({ ...TEXT, ...common, sequential: false, statistics: "exact" });
    const indirect = await dryPlan({ ...common, observed });
    expect(groups(indirect.plan)).toEqual(groups(direct.plan));
    const said = indirect.notes.some((note) => note.includes("exact sums"));
    expect(said).toBe(method === "m-smoe" || method === "hc-smoe");
  });

  test("every criterion and reading of the gate", async () => {
    for (const saliency of ["sum", "energy", "reap"] as const) {
      for (const gate of ["combined", "scores", "scores-squared"] as const) {
        const common = { method: "reap", experts: 32, mix: PAPER_MIXES[0]!, saliency, gate } as const;
        const direct = await dryPlan({ ...TEXT, ...common, sequential: false });
        expect(groups((await dryPlan({ ...common, observed })).plan)).toEqual(groups(direct.plan));
      }
    }
  });

  test("fewer samples than tokens: the same tokens of every sequence", async () => {
    const out = join(folder, "few-samples");
    await observeTo(out, { samples: 200, mix: [PAPER_MIXES[2]!] });
    const common = { method: "ream", experts: 48, mix: PAPER_MIXES[2]! } as const;
    const direct = await dryPlan({ ...TEXT, ...common, samples: 200, sequential: false });
    const indirect = await dryPlan({ ...common, observed: out });
    expect(groups(indirect.plan)).toEqual(groups(direct.plan));
    expect(permutations(indirect.plan)).toEqual(permutations(direct.plan));
  });
});

test("a mix between the cuts is an estimate, and says so", async () => {
  const { notes, plan } = await dryPlan({ method: "reap", experts: 48, mix: "general=0.6,code=0.4", observed });
  expect(notes.join()).toContain("estimate");
  expect(plan.layers).toHaveLength(4);
});

test("what was not observed is refused by name", async () => {
  const pruning = join(folder, "pruning");
  await observeTo(pruning, { pruningOnly: true, mix: [PAPER_MIXES[0]!] });
  const reap = { method: "reap", experts: 48, mix: PAPER_MIXES[0]! } as const;
  const fromAll = await dryPlan({ ...reap, observed });
  expect((await dryPlan({ ...reap, observed: pruning })).plan.layers).toEqual(fromAll.plan.layers);
  const refused: [Parameters<typeof dryPlan>[0], string][] = [
    [{ ...reap, method: "ream", observed: pruning }, "OBSERVATION_STATISTICS"],
    [{ ...reap, statistics: "batch-means", observed }, "OBSERVATION_STATISTICS"],
    [{ ...reap, method: "ream-paper", observed }, "OBSERVATION_STATISTICS"],
    [{ ...reap, method: "ream", gatedOutputs: false, observed }, "OBSERVATION_STATISTICS"],
    [{ ...reap, mix: "latin=1", observed }, "OBSERVATION_DOMAIN"],
    [{ ...reap, sequential: true, observed }, "SETTINGS_CONFLICT"],
    [{ ...reap, experts: 4, observed }, "EXPERTS_RANGE"],
    [{ ...reap, observed: folder }, "OBSERVATION_MISSING"],
  ];
  for (const [options, code] of refused) await expect(dryPlan(options), code).rejects.toMatchObject({ code });
  await expect(observeTo(observed)).rejects.toMatchObject({ code: "OUTPUT_EXISTS" });
});

test("a file that is damaged is found when it is read", async () => {
  const out = join(folder, "damaged");
  await observeTo(out, { mix: ["general=1"], domain: TEXT.domain.slice(0, 1) });
  const path = join(out, "general/0-24/layer-00002.safetensors");
  const bytes = readFileSync(path);
  const options = { method: "reap", experts: 48, observed: out } as const;
  writeFileSync(path, bytes.subarray(0, bytes.length - 8));
  await expect(dryPlan(options)).rejects.toMatchObject({ code: expect.stringMatching(/^SAFETENSORS_/) });
  writeFileSync(
    path,
    Buffer.from(bytes.toString("latin1").replace('"energy.combined"', '"energy.combinet"'), "latin1"),
  );
  await expect(dryPlan(options)).rejects.toMatchObject({ code: "OBSERVATION_DAMAGED" });
});

test("an observation that is killed goes on, to the same bytes", async () => {
  const out = join(folder, "killed");
  const args = ["observe", MODEL, "--out", out, "--sequences", "24", "--length", "32", "-q"];
  for (const domain of TEXT.domain) args.push("--domain", domain);
  const { killed, code, stderr } = await reamKilled(args, 700, 350);
  expect(code, stderr).toBe(0);
  expect(killed).toBeGreaterThan(0);
  const files = (digest: Record<string, string>) => Object.entries(digest).filter(([name]) => !name.includes("lock"));
  expect(files(folderDigest(out))).toEqual(files(folderDigest(observed)));
});

test("an unfinished observation is not mixed with another", async () => {
  const out = join(folder, "other");
  const run = observe({ model: MODEL, ...TEXT, out });
  for (let step = await run.next(); !step.done; step = await run.next()) if (step.value.type === "observed") break;
  await run.return(undefined as never);
  await expect(observeTo(out, { seed: 7 })).rejects.toMatchObject({ code: "OBSERVATION_OTHER" });
  await observeTo(out, { seed: 7, restart: true });
});
