import type { ConfigReader } from "../config.js";
import type { ModelDescription } from "../description.js";
import { readRope } from "../rope.js";
import {
  denseBlock,
  describeDecoder,
  expectOption,
  gatedBlock,
  groupedQueryAttention,
  headNorms,
  preNorm,
  readExperts,
  readFrame,
  readHeads,
  sparseByType,
  type TensorNames,
} from "./parts.js";

/** Hunyuan 3: heads are normed, sigmoid router with a correction bias, shared experts, the first layer dense. */
export function describeHyV3(config: ConfigReader, tensors: TensorNames): ModelDescription {
  expectOption(config, "qk_norm", [true]);
  expectOption(config, "route_norm", [true]);
  expectOption(config, "moe_router_use_sigmoid", [true]);
  expectOption(config, "moe_router_enable_expert_bias", [true]);
  expectOption(config, "mlp_bias", [false]);
  const frame = readFrame(config, tensors, { defaultEpsilon: 1e-5 });
  const { headSize } = readHeads(frame);
  const rope = readRope(config, headSize, 11_158_840);
  const bias = config.boolean("attention_bias", false);
  const width = config.count("moe_intermediate_size");
  const shared = config.count("num_shared_experts", 1);
  const isSparse = sparseByType(frame, config.number("first_k_dense_replace", 1));
  return describeDecoder("hy_v3", frame, (index, prefix) => ({
    aroundMixer: preNorm(`${prefix}input_layernorm.weight`, frame),
    mixer: {
      ...groupedQueryAttention(`${prefix}self_attn.`, frame, rope, { bias }),
      ...headNorms(`${prefix}self_attn.`, headSize, frame.epsilon),
    },
    aroundFeedForward: preNorm(`${prefix}post_attention_layernorm.weight`, frame),
    feedForward: isSparse(index)
      ? {
          kind: "moe",
          activation: frame.activation,
          router: {
            weight: `${prefix}mlp.router.gate.weight`,
            selectionBias: `${prefix}mlp.expert_bias`,
            scores: "sigmoid",
            topK: frame.topK,
            normalise: true,
            epsilon: 1e-20,
            scale: config.number("router_scaling_factor", 1),
          },
          experts: readExperts(`${prefix}mlp.experts.`, width, frame),
          shared: gatedBlock(`${prefix}mlp.shared_mlp.`, width * shared, frame),
        }
      : denseBlock(prefix, frame),
  }));
}
