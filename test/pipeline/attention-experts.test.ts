import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Checkpoint } from "../../src/checkpoint/checkpoint.js";
import { decode } from "../../src/checkpoint/dtypes.js";
import { encodeSafetensors } from "../../src/checkpoint/safetensors-encode.js";
import { observe } from "../../src/observe/observe.js";
import { compress } from "../../src/pipeline/compress.js";
import { follow } from "../../src/pipeline/follow.js";
import type { CompressOptions } from "../../src/pipeline/options.js";
import { Random } from "../../src/random.js";
import { gatherCompression } from "../../src/report/gather/compression.js";
import { TEXT } from "../observe/demo-text.js";
import { folderDigest } from "../support/folder-digest.js";
import { GOLDENS } from "../support/goldens.js";

const model = join(GOLDENS, "forward/jetmoe");
const folder = mkdtempSync(join(tmpdir(), "ream-attention-"));
const tokens = join(folder, "tokens.safetensors");
afterAll(() => rmSync(folder, { recursive: true, force: true }));

beforeAll(() => {
  const random = new Random(2);
  const data = new Uint8Array(Int32Array.from({ length: 240 }, () => random.below(256)).buffer);
  writeFileSync(tokens, encodeSafetensors(new Map([["input_ids", { dtype: "I32", shape: [12, 20], data }]])));
});

async function run(name: string | undefined, changes: Partial<CompressOptions> = {}) {
  const notes: string[] = [];
  const out = name === undefined ? {} : { out: join(folder, name) };
  const result = await follow(
    compress({ model, tokens, experts: 5, method: "ream", precision: "f32", ...out, ...changes }),
    (event) => {
      if (event.type === "note") notes.push(event.message);
    },
  );
  return { ...result, notes };
}

/** The numbers of a tensor's part of an expert, which are its rows. */
async function part(checkpoint: Checkpoint, name: string, expert: number): Promise<Float32Array> {
  return decode(await checkpoint.readRows(name, expert, expert + 1));
}

describe("the experts of a mixture of attention", () => {
  test.each(["ream", "reap"] as const)("%s: what is written is what the plan says", async (method) => {
    const { plan, notes } = await run(method, { method });
    expect(notes.join()).toContain("The experts of the attention are reduced too");
    const [before, after] = [await Checkpoint.open(model), await Checkpoint.open(join(folder, method))];
    expect(JSON.parse(after.configText)).toMatchObject({ num_local_experts: 5 });
    const prefix = (layer: number) => `model.layers.${layer}.self_attention.experts.`;
    let merged = 0;
    for (const { layer, attention } of plan.layers) {
      const { keptExperts, groups } = attention!;
      expect(keptExperts).toHaveLength(5);
      for (const name of ["input_linear", "output_linear", "router.layer"]) {
        const tensor = `${prefix(layer)}${name}.weight`;
        for (const [slot, kept] of keptExperts.entries()) {
          const { members, weights } = groups.find((group) => group.members[0] === kept)!;
          if (members.length > 1) merged++;
          const written = await part(after, tensor, slot);
          // Of a router the centroid's row stays.
          const parts =
            name === "router.layer" ? [[kept, 1] as const] : members.map((m, i) => [m, weights[i]!] as const);
          const expected = new Float64Array(written.length);
          for (const [member, weight] of parts) {
            for (const [i, value] of (await part(before, tensor, member)).entries()) expected[i]! += weight * value;
          }
          // Merged weights are rounded to bfloat16, whose step is 2^-8 of a value.
          for (const [i, value] of expected.entries())
            expect(Math.abs(written[i]! - value)).toBeLessThanOrEqual(parts.length > 1 ? Math.abs(value) / 256 : 0);
        }
      }
    }
    expect(merged > 0).toBe(method === "ream");
    await Promise.all([before.close(), after.close()]);
  });

  test("a plan from a dry run gives the same tensors", async () => {
    await run("direct");
    const { plan } = await run(undefined, { dryRun: true });
    const file = join(folder, "plan.json");
    writeFileSync(file, JSON.stringify(plan));
    await run("planned", { plan: file });
    const { "model.safetensors": direct } = folderDigest(join(folder, "direct"));
    expect(direct).toBeDefined();
    expect(folderDigest(join(folder, "planned"))["model.safetensors"]).toBe(direct);
  });

  test("a plan without them is refused", async () => {
    const { plan } = await run(undefined, { dryRun: true });
    const file = join(folder, "without.json");
    const layers = plan.layers.map(({ attention: _, ...layer }) => layer);
    writeFileSync(file, JSON.stringify({ ...plan, layers }));
    await expect(run("refused", { plan: file })).rejects.toMatchObject({ code: "PLAN_INVALID" });
  });

  test("later blocks see them reduced, unless the run is not sequential", async () => {
    const [sequential, original] = [await run("s"), await run("o", { sequential: false })];
    const [first, other] = [sequential.plan.layers[0]!, original.plan.layers[0]!];
    // The first attention sees the same input, the first feed-forward block another one.
    expect(first.attention).toEqual(other.attention);
    expect(first.groups.map(({ weights }) => weights)).not.toEqual(other.groups.map(({ weights }) => weights));
  });

  test("random tokens, which refits look at, say nothing of them", async () => {
    const how = { method: "reap", reconstruct: "down", dryRun: true } as const;
    const plans = [0, 1].map((reconstructRandom) => run(undefined, { ...how, reconstructRandom }));
    const [without, having] = await Promise.all(plans);
    expect(having!.plan.layers[0]).toEqual(without!.plan.layers[0]);
  });

  test("all experts kept: nothing changes", async () => {
    await run("all", { experts: 8 });
    const [before, after] = [await Checkpoint.open(model), await Checkpoint.open(join(folder, "all"))];
    for (const name of before.tensors.keys()) {
      expect(Buffer.from((await after.read(name)).data).equals((await before.read(name)).data)).toBe(true);
    }
    await Promise.all([before.close(), after.close()]);
  });

  test("other work on the matrices goes with it", async () => {
    const { plan } = await run("pruned", { then: ["wanda:0.5"], parts: ["attention", "experts"] });
    expect(plan.layers[0]!.attention!.keptExperts).toHaveLength(5);
    const after = await Checkpoint.open(join(folder, "pruned"));
    const projection = decode(await after.read("model.layers.1.self_attention.kv_proj.weight"));
    expect(projection.filter((value) => value === 0).length).toBeGreaterThanOrEqual(projection.length / 2);
    await after.close();
  });

  test("the report shows their groups", async () => {
    await run("reported");
    const options = { heldOut: [], heldOutSequences: 1, heldOutLength: 8 } as unknown as Parameters<
      typeof gatherCompression
    >[1];
    const { attentionLayers, sizes } = await gatherCompression(
      join(folder, "reported"),
      options,
      new AbortController().signal,
    );
    expect(attentionLayers!.map(({ layer, groups }) => [layer, groups.length])).toEqual([
      [0, 5],
      [1, 5],
    ]);
    expect(sizes).toContainEqual({ name: "Routed experts", before: 32, after: 20, unit: "count" });
  });

  test("observations have nothing of them and are refused", async () => {
    const observing = follow(observe({ ...TEXT, model, out: join(folder, "observed") }), () => undefined);
    await expect(observing).rejects.toMatchObject({ code: "FAMILY_NOT_OBSERVED" });
    await expect(run("x", { observed: folder, tokens: undefined })).rejects.toMatchObject({
      code: "FAMILY_NOT_OBSERVED",
    });
  });
});
