import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { Checkpoint } from "../../src/checkpoint/checkpoint.js";
import { describeModel } from "../../src/model/describe.js";
import { isMoe, type ModelDescription } from "../../src/model/description.js";
import { type LinearWeight, linearWeights } from "../../src/model/linear-weights.js";
import { forwardCases, GOLDENS } from "../support/goldens.js";

async function opened(folder: string): Promise<{ checkpoint: Checkpoint; model: ModelDescription }> {
  const checkpoint = await Checkpoint.open(folder);
  return { checkpoint, model: describeModel(checkpoint.config, checkpoint) };
}

async function family(name: string): Promise<LinearWeight[][]> {
  const { checkpoint, model } = await opened(join(GOLDENS, "forward", name));
  await checkpoint.close();
  return model.layers.map(linearWeights);
}

/** Ends of the names of a layer's matrices but the routed experts'. */
const ends = (weights: readonly LinearWeight[]) =>
  weights.filter(({ part }) => part !== "experts").map(({ name }) => name.split(".").slice(-2, -1)[0]);

/** Parameters that are no linear weight by themselves, by the end of their name. */
const OTHERS =
  /norm\.(weight|bias)$|layernorm|\.bias$|\.gate\.(wg\.)?weight$|router|sinks$|softmax_offset$|f_proj\.weight$|conv1?d?\.weight$|A_log$|dt_bias$|in_proj_(ba|a|b)\.|shared_expert_gate|_scale_inv$|expert_bias$|score_correction|experts\.bias|_bias$|moe_statics|_decay$|slope_rate$|norm_[12]\.weight$|layer_scalar$|\.D$|\.indexer\.|index_[kq]_proj|mamba\.(dt|x)_proj|\.(b|[fg]_[ab])_proj\.weight$/;

describe.each(forwardCases())("%s", (name, folder) => {
  test("every matrix of a layer is one of them, or is known to be none", async () => {
    const { checkpoint, model } = await opened(folder);
    for (const layer of model.layers) {
      const weights = linearWeights(layer);
      const names = new Set(weights.map((weight) => weight.name));
      expect(names.size).toBe(weights.length);
      const experts = new Set(isMoe(layer) ? layer.feedForward.experts.names : []);
      const left = [...checkpoint.tensors.keys()].filter(
        (tensor) => tensor.startsWith(layer.prefix) && !names.has(tensor) && !experts.has(tensor),
      );
      const attentionExperts = name === "jetmoe" ? /self_attention\.experts\./ : /^$/;
      expect(left.filter((tensor) => !OTHERS.test(tensor) && !attentionExperts.test(tensor))).toEqual([]);
    }
    await checkpoint.close();
  });

  test("shapes are those that are stored, and of experts those that are read", async () => {
    const { checkpoint, model } = await opened(folder);
    for (const layer of model.layers) {
      const seen: Record<string, number> = {};
      for (const { part, name, shape, expert, matrix } of linearWeights(layer)) {
        seen[part] = (seen[part] ?? 0) + 1;
        if (part !== "experts") expect(checkpoint.info(name).shape).toEqual(shape);
        else if (expert! < 2 && isMoe(layer)) {
          const { experts } = layer.feedForward;
          expect((await experts.read(checkpoint, expert!))[matrix!]!.shape).toEqual(shape);
          if (experts.names.length > 8) expect(experts.names).toContain(name);
        }
      }
      // Blocks of Nemotron-H have no gates.
      const matrices = name === "nemotron_h" ? 2 : 3;
      expect(seen.experts).toBe(isMoe(layer) ? matrices * model.experts : undefined);
      expect(seen.dense).toBe(layer.feedForward.kind === "dense" ? matrices : undefined);
    }
    await checkpoint.close();
  });
});

test("matrices of the kinds of mixers", async () => {
  const [delta, , , attention] = await family("qwen3_next");
  expect(ends(delta!)).toEqual(["in_proj_qkvz", "out_proj", "gate_proj", "up_proj", "down_proj"]);
  // Query and gate are one tensor.
  expect(ends(attention!).slice(0, 4)).toEqual(["q_proj", "k_proj", "v_proj", "o_proj"]);
  expect(ends((await family("jetmoe"))[0]!)).toEqual(["kv_proj"]);
  const lightning = (await family("minimax")).find((weights) => ends(weights).includes("qkv_proj"));
  expect(ends(lightning!)).toEqual(["qkv_proj", "output_gate", "out_proj"]);
  const convolution = (await family("lfm2_moe")).find((weights) => ends(weights).includes("in_proj"));
  expect(ends(convolution!).slice(0, 2)).toEqual(["in_proj", "out_proj"]);
  const latent = await family("deepseek_v3");
  expect(ends(latent[0]!).slice(0, 5)).toEqual(["q_a_proj", "q_b_proj", "kv_a_proj_with_mqa", "kv_b_proj", "o_proj"]);
});

test("experts in one tensor have the names of separate ones", async () => {
  const first = async (name: string) => (await family(name)).flat().find(({ part }) => part === "experts")!.name;
  expect(await first("gpt_oss")).toBe("model.layers.0.mlp.experts.0.gate_proj.weight");
  expect(await first("gpt_oss-mxfp4")).toBe("model.layers.0.mlp.experts.0.gate_proj.weight");
  expect(await first("granitemoe")).toBe("model.layers.0.block_sparse_moe.experts.0.gate_proj.weight");
  expect(await first("llama4_text")).toMatch(/feed_forward\.experts\.0\.gate_proj\.weight$/);
});
