import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { Checkpoint } from "../../src/checkpoint/checkpoint.js";
import { decode } from "../../src/checkpoint/dtypes.js";
import { encodeSafetensors } from "../../src/checkpoint/safetensors-encode.js";
import { describeModel } from "../../src/model/describe.js";
import { forward } from "../../src/model/forward.js";
import { compress } from "../../src/pipeline/compress.js";
import type { CompressEvent } from "../../src/pipeline/events.js";
import { follow } from "../../src/pipeline/follow.js";
import type { CompressOptions } from "../../src/pipeline/options.js";
import { Random } from "../../src/random.js";
import { BACKENDS } from "../support/backends.js";
import { describedCheckpoint } from "../support/described-checkpoint.js";
import { folderDigest } from "../support/folder-digest.js";

const folder = mkdtempSync(join(tmpdir(), "ream-parallel-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const [HIDDEN, EXPERTS] = [32, 4];
/** Attention and experts side by side. */
const CONFIG = {
  ...{ model_type: "cohere2_moe", vocab_size: 64, hidden_size: HIDDEN, intermediate_size: 12, num_hidden_layers: 2 },
  ...{ num_attention_heads: 4, num_key_value_heads: 2, head_dim: 8, max_position_embeddings: 64, num_experts: EXPERTS },
  ...{ num_experts_per_tok: 2, num_shared_experts: 1, layer_types: ["sliding_attention", "full_attention"] },
};
const [sequences, length] = [64, 20];
const random = new Random(6);
const ids = Int32Array.from({ length: sequences * length }, () => random.below(64));
const tokens = join(folder, "tokens.safetensors");
const data = new Uint8Array(ids.buffer);
writeFileSync(
  tokens,
  encodeSafetensors(new Map([["input_ids", { dtype: "I32" as const, shape: [sequences, length], data }]])),
);

async function run(name: string, options: Partial<CompressOptions>) {
  const source = join(folder, `source-${name}`);
  const checkpoint = await describedCheckpoint(source, CONFIG, new Random(7));
  const events: CompressEvent[] = [];
  const out = join(folder, name);
  await follow(compress({ model: source, out, tokens, precision: "f32", ...options }), (event) => {
    events.push(event as CompressEvent);
  });
  return { checkpoint, events, out };
}

test("Wanda sees the inputs of the experts of a parallel layer", async () => {
  const { checkpoint, out } = await run("wanda", { then: ["wanda:0.5"], parts: ["experts"] });
  const model = describeModel(checkpoint.config);
  const squares = Array.from({ length: EXPERTS }, () => new Float64Array(HIDDEN));
  await forward(checkpoint, model, BACKENDS.reference!("f32"), [{ sequences, length, ids }], {
    moe(layer, _, x, { router }) {
      if (layer !== 0) return;
      const { selected, topK } = router.routing;
      for (const [pair, expert] of selected.entries()) {
        const token = Math.floor(pair / topK);
        for (let i = 0; i < HIDDEN; i++) squares[expert]![i]! += x[token * HIDDEN + i]! ** 2;
      }
    },
  });
  const after = await Checkpoint.open(out);
  for (const [expert, sums] of squares.entries()) {
    const name = `model.layers.0.mlp.experts.${expert}.up_proj.weight`;
    const [before, pruned] = [decode(await checkpoint.read(name)), decode(await after.read(name))];
    for (let row = 0; row < before.length; row += HIDDEN) {
      const score = (i: number) => Math.abs(before[row + i]!) * Math.sqrt(sums[i]!);
      const kept = [...Array(HIDDEN).keys()].sort((a, b) => score(b) - score(a)).slice(0, HIDDEN / 2);
      const expected = Float32Array.from({ length: HIDDEN }, (_, i) => (kept.includes(i) ? before[row + i]! : 0));
      expect(pruned.subarray(row, row + HIDDEN)).toEqual(expected);
    }
  }
  await after.close();
});

test("kept experts of a parallel layer are refitted to its output", async () => {
  const { events } = await run("refitted", { experts: 3, method: "reap", reconstruct: "down" });
  const refits = events.filter((event) => event.type === "reconstruct");
  expect(refits).toHaveLength(2);
  for (const { kept, fit } of refits) {
    expect(kept).toBe(true);
    const left = ({ heldOut }: { heldOut: { lost: number; of: number } }) => heldOut.lost / heldOut.of;
    expect(left(fit!.after)).toBeLessThan(left(fit!.before));
  }
});

test("with hidden states in a file, which have two rows for a token between the halves, the same bytes come out", async () => {
  const options = { experts: 3, method: "reap", reconstruct: "down" } as const;
  const kept = await run("kept", options);
  const refused = await run("refused", { ...options, memoryLimit: "1MB" }).catch(({ message }: Error) => message);
  const megabytes = Number(/^([\d.]+) MB/.exec(String(refused))![1]);
  const filed = await run("filed", { ...options, memoryLimit: `${megabytes + 0.06}MB` });
  const notes = filed.events.flatMap((event) => (event.type === "note" ? [event.message] : []));
  expect(notes).toContainEqual(expect.stringMatching(/Hidden states, .* are kept in a file/));
  const weights = ({ out }: { out: string }) => folderDigest(out)["model.safetensors"];
  expect(weights(filed)).toBe(weights(kept));
});
