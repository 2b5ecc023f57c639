import type { ConfigReader } from "../config.js";
import type { ModelDescription } from "../description.js";
import type { ExpertStorage } from "../expert-storage.js";
import { readRope } from "../rope.js";
import { mxfp4Experts } from "../storage/mxfp4.js";
import { stackedExperts } from "../storage/stacked.js";
import {
  describeDecoder,
  type Frame,
  groupedQueryAttention,
  layerTypes,
  preNorm,
  readFrame,
  readHeads,
  type TensorNames,
} from "./parts.js";

/**
 * gpt-oss: every other layer has a window, each head a sink; biases everywhere; experts in one tensor with interleaved gate
 * and up, stored as they are or in MXFP4.
 */
export function describeGptOss(config: ConfigReader, tensors: TensorNames): ModelDescription {
  const frame = readFrame(config, tensors, { defaultEpsilon: 1e-5 });
  const rope = readRope(config, readHeads(frame).headSize, 150_000);
  const types = layerTypes(frame, ["full_attention", "sliding_attention"], (layer) =>
    layer % 2 === 0 ? "sliding_attention" : "full_attention",
  );
  const bias = config.boolean("attention_bias", true);
  const activation = {
    kind: "clamped_swiglu",
    alpha: config.number("swiglu_alpha", 1.702),
    limit: config.number("swiglu_limit", 7),
  } as const;
  return describeDecoder("gpt_oss", frame, (index, prefix) => ({
    aroundMixer: preNorm(`${prefix}input_layernorm.weight`, frame),
    mixer: {
      ...groupedQueryAttention(`${prefix}self_attn.`, frame, rope, { bias }),
      window: types[index] === "sliding_attention" ? config.count("sliding_window", 128) : undefined,
      sinks: `${prefix}self_attn.sinks`,
    },
    aroundFeedForward: preNorm(`${prefix}post_attention_layernorm.weight`, frame),
    feedForward: {
      kind: "moe",
      activation,
      router: {
        weight: `${prefix}mlp.router.weight`,
        bias: `${prefix}mlp.router.bias`,
        scores: "softmax",
        topK: frame.topK,
        normalise: true,
      },
      experts: experts(`${prefix}mlp.experts.`, frame),
    },
  }));
}

function experts(prefix: string, { config, experts, hidden }: Frame): ExpertStorage {
  const common = {
    ...{ count: experts, width: config.count("intermediate_size"), hidden },
    gateUp: `${prefix}gate_up_proj`,
    down: `${prefix}down_proj`,
    gateUpBias: `${prefix}gate_up_proj_bias`,
    downBias: `${prefix}down_proj_bias`,
  };
  if (config.has("quantization_config")) return mxfp4Experts(common);
  return stackedExperts({ ...common, layout: "columns", interleaved: true });
}
