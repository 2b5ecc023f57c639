import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { openModel } from "../../src/pipeline/open-model.js";
import { prepareModel } from "../../src/pipeline/prediction-layers.js";
import { resolveCompress } from "../../src/pipeline/resolve-options.js";
import { Random } from "../../src/random.js";
import { describedCheckpoint } from "../support/described-checkpoint.js";

const folder = mkdtempSync(join(tmpdir(), "ream-predictions-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test("layers whose layout is not known are kept, and a note says so, whatever their experts are called", async () => {
  const text = {
    ...{
      hidden_size: 16,
      intermediate_size: 12,
      num_hidden_layers: 3,
      num_attention_heads: 2,
      head_dim: 8,
      vocab_size: 32,
    },
    ...{ max_position_embeddings: 64, moe_intermediate_size: 12, share_expert_dim: 12, num_key_value_heads: 2 },
    ...{ n_routed_experts: 4, num_experts_per_tok: 2, mlp_layer_types: ["dense", "sparse", "sparse"] },
  };
  const config = (text_config: object) => ({ model_type: "step3p7", text_config }) as never;
  const checkpoint = await describedCheckpoint(folder, config(text), new Random(1));
  // The last layer becomes one behind the decoder.
  const shorter = { ...text, num_hidden_layers: 2, num_nextn_predict_layers: 1 };
  writeFileSync(join(checkpoint.folder, "config.json"), JSON.stringify(config(shorter)));
  const opened = await openModel(folder);
  const prepared = await prepareModel(resolveCompress({ model: folder }), opened);
  expect(prepared.predictionLayers).toBe("kept");
  expect(prepared.notes.join()).toMatch(/copied as they are, with 4 experts \(their layout is not known\)/);
  await opened.checkpoint.close();
});
