import type { ConfigReader } from "../config.js";
import type { ModelDescription } from "../description.js";
import type { ShortConvolutionDescription } from "../mixers/descriptions.js";
import { readRope } from "../rope.js";
import {
  describeDecoder,
  type Frame,
  gatedBlock,
  groupedQueryAttention,
  headNorms,
  layerTypes,
  linear,
  MIXTRAL_NAMES,
  preNorm,
  readExperts,
  readFrame,
  readHeads,
  rmsNorm,
  type TensorNames,
} from "./parts.js";

/** LFM2-MoE: short convolutions in most layers, attention with normed heads in the others, sigmoid router. */
export function describeLfm2Moe(config: ConfigReader, tensors: TensorNames): ModelDescription {
  const frame = readFrame(config, tensors, { epsilon: "norm_eps", defaultEpsilon: 1e-5 });
  const { headSize } = readHeads(frame);
  const rope = readRope(config, headSize, 1e6);
  const firstMoe = config.number("num_dense_layers", 2);
  const types = layerTypes(frame, ["full_attention", "conv"], () => "full_attention");
  const biased = config.boolean("use_expert_bias", true);
  const names: [string, string, string] = ["w1", "w3", "w2"];
  return describeDecoder(
    "lfm2_moe",
    frame,
    (index, prefix) => ({
      aroundMixer: preNorm(`${prefix}operator_norm.weight`, frame),
      mixer:
        types[index] === "conv"
          ? shortConvolution(`${prefix}conv.`, frame)
          : {
              ...groupedQueryAttention(`${prefix}self_attn.`, frame, rope, { output: "out_proj" }),
              ...headNorms(`${prefix}self_attn.`, headSize, frame.epsilon, ["q_layernorm", "k_layernorm"]),
            },
      aroundFeedForward: preNorm(`${prefix}ffn_norm.weight`, frame),
      feedForward:
        index >= firstMoe
          ? {
              kind: "moe",
              activation: frame.activation,
              router: {
                weight: `${prefix}feed_forward.gate.weight`,
                ...(biased ? { selectionBias: `${prefix}feed_forward.expert_bias` } : {}),
                scores: "sigmoid",
                topK: frame.topK,
                normalise: config.boolean("norm_topk_prob", true),
                epsilon: 1e-6,
                scale: config.number("routed_scaling_factor", 1),
              },
              experts: readExperts(
                `${prefix}feed_forward.experts.`,
                config.count("moe_intermediate_size"),
                frame,
                MIXTRAL_NAMES,
              ),
            }
          : {
              kind: "dense",
              ...gatedBlock(`${prefix}feed_forward.`, config.count("intermediate_size"), frame, { names }),
            },
    }),
    {
      finalNorm: rmsNorm("model.embedding_norm.weight", frame.hidden, frame.epsilon),
      tied: config.boolean("tie_embedding", config.boolean("tie_word_embeddings", true)),
    },
  );
}

function shortConvolution(prefix: string, { config, hidden }: Frame): ShortConvolutionDescription {
  const bias = config.boolean("conv_bias", false);
  return {
    kind: "short-convolution",
    kernel: config.count("conv_L_cache", 3),
    input: linear(`${prefix}in_proj`, [3 * hidden, hidden], bias),
    convolution: `${prefix}conv.weight`,
    ...(bias ? { bias: `${prefix}conv.bias` } : {}),
    output: linear(`${prefix}out_proj`, [hidden, hidden], bias),
  };
}
