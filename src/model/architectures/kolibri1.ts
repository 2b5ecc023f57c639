import type { ConfigReader } from "../config.js";
import type { LayerDescription, ModelDescription } from "../description.js";
import { readRope } from "../rope.js";
import {
  describeDecoder,
  type Frame,
  gatedBlock,
  groupedQueryAttention,
  headNorms,
  layerTypes,
  readExperts,
  readFrame,
  readHeads,
  rmsNorm,
  type TensorNames,
} from "./parts.js";

/**
 * Kolibri 1: heads are normed, layers without a window have no positions, blocks are normed before and after. The router
 * chooses by its logits with a correction bias and weighs by their sigmoid; a shared expert.
 */
export function describeKolibri1(config: ConfigReader, tensors: TensorNames): ModelDescription {
  const frame = readFrame(config, tensors);
  const { headSize } = readHeads(frame);
  const rope = readRope(config, headSize, 10_000);
  const window = config.has("sliding_window") ? config.count("sliding_window") : undefined;
  const types = layerTypes(frame, ["full_attention", "sliding_attention"], (layer) =>
    (layer + 1) % 5 === 0 ? "full_attention" : "sliding_attention",
  );
  const norm = (name: string) => rmsNorm(`${name}.weight`, frame.hidden, frame.epsilon);
  return describeDecoder("kolibri1", frame, (index, prefix) => {
    const slides = types[index] === "sliding_attention";
    return {
      aroundMixer: {
        inputNorm: norm(`${prefix}input_layernorm`),
        outputNorm: norm(`${prefix}post_attn_norm`),
      },
      mixer: {
        ...groupedQueryAttention(`${prefix}self_attn.`, frame, slides || window === undefined ? rope : undefined),
        ...headNorms(`${prefix}self_attn.`, headSize, frame.epsilon),
        window: slides ? window : undefined,
      },
      aroundFeedForward: {
        inputNorm: norm(`${prefix}post_attention_layernorm`),
        outputNorm: norm(`${prefix}post_ffn_norm`),
      },
      feedForward: block(prefix, frame),
    };
  });
}

function block(prefix: string, frame: Frame): LayerDescription["feedForward"] {
  const { config, activation, topK } = frame;
  return {
    kind: "moe",
    activation,
    router: {
      weight: `${prefix}mlp.gate.weight`,
      selectionBias: `${prefix}moe.router.expert_bias`,
      scores: "sigmoid",
      chooseBy: "logits",
      topK,
      normalise: config.boolean("norm_topk_prob", false),
    },
    experts: readExperts(`${prefix}mlp.experts.`, config.count("moe_intermediate_size"), frame),
    shared: gatedBlock(`${prefix}mlp.shared_experts.`, config.count("shared_expert_intermediate_size"), frame),
  };
}
