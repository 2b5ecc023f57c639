import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, test } from "vitest";
import { encodeSafetensors } from "../../src/checkpoint/safetensors-encode.js";
import { compress } from "../../src/pipeline/compress.js";
import { follow } from "../../src/pipeline/follow.js";
import { Random } from "../../src/random.js";
import { GOLDENS } from "../support/goldens.js";

const here = fileURLToPath(new URL(".", import.meta.url));
const python = join(here, "../../.peers/bin/python");
const folder = mkdtempSync(join(tmpdir(), "ream-attention-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const model = join(GOLDENS, "forward/jetmoe");
const tokens = join(folder, "tokens.safetensors");

// Skipped, and counted as skipped, where the Python peers are not installed (test/peers/README.md).
describe.skipIf(!existsSync(python))("the experts of JetMoE's attention", () => {
  test("are ranked, grouped and weighted by what transformers computes", async () => {
    const random = new Random(5);
    const data = new Uint8Array(Int32Array.from({ length: 200 }, () => random.below(256)).buffer);
    writeFileSync(tokens, encodeSafetensors(new Map([["input_ids", { dtype: "I32", shape: [10, 20], data }]])));
    const output = execFileSync(python, [join(here, "attention_experts.py"), model, tokens], {
      encoding: "utf8",
      stdio: ["ignore", "pipe", "ignore"],
    });
    const theirs = JSON.parse(output) as { saliency: number[]; cosines: number[][] }[];
    // What the original model does is compared, so that layers must not see what became of earlier ones.
    const common = { model, tokens, experts: 5, precision: "f32", sequential: false, dryRun: true } as const;
    const merged = await follow(compress({ ...common, method: "ream" }), () => undefined);
    const pruned = await follow(compress({ ...common, method: "reap" }), () => undefined);
    expect(theirs).toHaveLength(2);
    for (const [layer, { saliency, cosines }] of theirs.entries()) {
      const ranked = [...saliency.keys()].sort((a, b) => saliency[b]! - saliency[a]!);
      const kept = ranked.slice(0, 5).sort((a, b) => a - b);
      expect(pruned.plan.layers[layer]!.attention!.keptExperts).toEqual(kept);
      const { keptExperts, groups } = merged.plan.layers[layer]!.attention!;
      expect(keptExperts).toEqual(kept);
      // Three are absorbed by the most salient one, whose group has room for all.
      const best = groups.find(({ members }) => members[0] === ranked[0])!;
      const near = (expert: number) => cosines[ranked[0]!]![expert]!;
      expect(best.members.slice(1)).toEqual(ranked.slice(5).sort((a, b) => near(b) - near(a)));
      const total = best.members.reduce((sum, member) => sum + saliency[member]!, 0);
      for (const [i, member] of best.members.entries())
        expect(best.weights[i]!).toBeCloseTo(saliency[member]! / total, 5);
      expect(best.permutations).toEqual({});
    }
  }, 120_000);
});
