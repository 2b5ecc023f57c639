import { ConfigReader } from "../config.js";
import type { LayerDescription, ModelDescription, MoeDescription, Norm, Sublayer } from "../description.js";
import { readRope } from "../rope.js";
import {
  describeDecoder,
  expectOption,
  type Frame,
  gatedBlock,
  groupedQueryAttention,
  layerTypes,
  readExperts,
  readFrame,
  readHeads,
  rmsNorm,
  sparseByType,
  type TensorNames,
} from "./parts.js";

/**
 * Cohere 2 with experts (Command A+): attention and feed-forward block side by side, of one normed input; positions are told
 * in layers with a window, and in dense layers.
 */
export function describeCohere2Moe(outer: ConfigReader, tensors: TensorNames): ModelDescription {
  const config = new ConfigReader({ head_dim: 128, ...outer.values });
  expectOption(config, "expert_selection_fn", ["softmax", "sigmoid"]);
  expectOption(config, "shared_expert_combination_strategy", ["sum", "average"]);
  const frame = readFrame(config, tensors);
  const norm = (name: string) => normOf(name, frame);
  const { headSize } = readHeads(frame);
  const rope = readRope(config, headSize, 10_000, { pairing: "adjacent" });
  const bias = config.boolean("attention_bias", false);
  const dense = config.has("first_k_dense_replace") ? config.number("first_k_dense_replace") : 0;
  const isSparse = sparseByType(frame, dense);
  const pattern = (key: string, usual: number, layer: number) =>
    (layer + 1) % config.count(key, usual) === 0 ? "full_attention" : "sliding_attention";
  const types = layerTypes(frame, ["full_attention", "sliding_attention"], (layer) =>
    layer < dense
      ? pattern("prefix_dense_sliding_window_pattern", 1, layer)
      : pattern("sliding_window_pattern", 4, layer - dense),
  );
  const densePositions = config.count("prefix_dense_sliding_window_pattern", 1) === 1;
  return describeDecoder(
    "cohere2_moe",
    frame,
    (index, prefix) => {
      const sliding = types[index] === "sliding_attention";
      const positions = sliding || (!isSparse(index) && densePositions);
      const around: Sublayer = { inputNorm: norm(`${prefix}input_layernorm.weight`) };
      return {
        parallel: true,
        aroundMixer: around,
        mixer: {
          ...groupedQueryAttention(`${prefix}self_attn.`, frame, positions ? rope : undefined, { bias }),
          window: sliding ? config.count("sliding_window", 4096) : undefined,
        },
        ...(isSparse(index) ? sparse(prefix, frame, around) : denseLayer(prefix, frame, around)),
      };
    },
    {
      tied: config.boolean("tie_word_embeddings", true),
      finalNorm: norm("model.norm.weight"),
      logitScale: config.number("logit_scale", 0.0625),
    },
  );
}

/** RMS norms where the config has their epsilon, else layer norms without a bias. */
function normOf(weight: string, { config, hidden }: Frame): Norm {
  if (config.has("rms_norm_eps")) return rmsNorm(weight, hidden, config.number("rms_norm_eps"));
  return { kind: "layer", weight, size: hidden, epsilon: config.number("layer_norm_eps", 1e-5) };
}

type Block = Pick<LayerDescription, "feedForward" | "aroundFeedForward">;

function denseLayer(prefix: string, frame: Frame, around: Sublayer): Block {
  const width = frame.config.count("prefix_dense_intermediate_size", frame.config.count("intermediate_size"));
  return { feedForward: { kind: "dense", ...gatedBlock(`${prefix}mlp.`, width, frame) }, aroundFeedForward: around };
}

function sparse(prefix: string, frame: Frame, around: Sublayer): Block {
  const { config, topK, activation } = frame;
  const width = config.count("intermediate_size");
  const scores = config.string("expert_selection_fn", "softmax") === "softmax" ? "softmax" : "sigmoid";
  const count = config.has("num_shared_experts") ? config.number("num_shared_experts") : 0;
  const shared = count > 0 ? { shared: gatedBlock(`${prefix}mlp.shared_experts.`, count * width, frame) } : {};
  const halved = count > 0 && config.string("shared_expert_combination_strategy", "average") === "average";
  const feedForward: MoeDescription = {
    kind: "moe",
    activation,
    router: {
      ...{ weight: `${prefix}mlp.gate.weight`, scores, topK },
      chooseBy: "logits",
      normalise: scores === "softmax" || config.boolean("norm_topk_prob", true),
    },
    experts: readExperts(`${prefix}mlp.experts.`, width, frame),
    ...shared,
  };
  const factors = { of: "input", residual: 1, output: 0.5 } as const;
  return { feedForward, aroundFeedForward: halved ? { ...around, factors } : around };
}
