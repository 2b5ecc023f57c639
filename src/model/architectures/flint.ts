import { ConfigReader } from "../config.js";
import type { ModelDescription } from "../description.js";
import { readRope } from "../rope.js";
import {
  denseBlock,
  describeDecoder,
  gatedBlock,
  groupedQueryAttention,
  headNorms,
  layerTypes,
  preNorm,
  readExperts,
  readFrame,
  readHeads,
  type TensorNames,
} from "./parts.js";

/**
 * Flint: normed heads with sinks, a window and positions in most layers, neither in the others; sigmoid router, a shared
 * expert that is not weighted.
 */
export function describeFlint(stored: ConfigReader, tensors: TensorNames): ModelDescription {
  const config = new ConfigReader({ head_dim: 128, ...stored.values });
  const frame = readFrame(config, tensors);
  const { headSize } = readHeads(frame);
  const rope = readRope(config, headSize, 10_000);
  const bias = config.boolean("attention_bias", false);
  const types = layerTypes(frame, ["full_attention", "sliding_attention"], (layer) =>
    layer < 2 || layer % 4 === 1 || layer === frame.layers - 1 ? "full_attention" : "sliding_attention",
  );
  const dense = new Set(config.has("mlp_only_layers") ? config.integers("mlp_only_layers") : [0, 1]);
  const sharedWidth = config.count("shared_expert_intermediate_size", 1024);
  return describeDecoder("flint", frame, (index, prefix) => {
    const sliding = types[index] === "sliding_attention";
    return {
      aroundMixer: preNorm(`${prefix}input_layernorm.weight`, frame),
      mixer: {
        ...groupedQueryAttention(`${prefix}self_attn.`, frame, sliding ? rope : undefined, { bias }),
        ...headNorms(`${prefix}self_attn.`, headSize, frame.epsilon),
        window: sliding ? config.count("sliding_window", 513) : undefined,
        sinks: `${prefix}self_attn.softmax_offset`,
      },
      aroundFeedForward: preNorm(`${prefix}post_attention_layernorm.weight`, frame),
      feedForward: dense.has(index)
        ? denseBlock(prefix, frame)
        : {
            kind: "moe",
            activation: frame.activation,
            router: {
              ...{ weight: `${prefix}mlp.gate.weight`, scores: "sigmoid", topK: frame.topK },
              normalise: config.boolean("norm_topk_prob", true),
            },
            experts: readExperts(`${prefix}mlp.experts.`, config.count("moe_intermediate_size", 512), frame),
            shared: gatedBlock(`${prefix}mlp.shared_expert.`, sharedWidth, frame),
          },
    };
  });
}
