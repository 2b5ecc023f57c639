import type { ConfigReader } from "../config.js";
import type { ModelDescription, Norm } from "../description.js";
import type { AttentionDescription } from "../mixers/descriptions.js";
import { readRope } from "../rope.js";
import {
  describeDecoder,
  type Frame,
  gatedBlock,
  groupedQueryAttention,
  layerTypes,
  preNorm,
  readExperts,
  readFrame,
  readHeads,
  type TensorNames,
} from "./parts.js";

/**
 * Llama 4, the text model of a multimodal one or alone: rotated layers attend within chunks, the others everywhere; the
 * router's sigmoid multiplies what goes into an expert; a shared expert.
 */
export function describeLlama4(config: ConfigReader, tensors: TensorNames): ModelDescription {
  const text = config.object("text_config");
  const inner = text ?? config;
  const frame = readFrame(inner, tensors, { defaultEpsilon: 1e-5 });
  const { topK, activation } = frame;
  const width = inner.count("intermediate_size");
  const step = inner.count("interleave_moe_layer_step", 1);
  const listed = inner.has("moe_layers") ? new Set(inner.integers("moe_layers")) : undefined;
  const isMoe = (layer: number) => listed?.has(layer) ?? (layer + 1) % step === 0;
  const interval = inner.count("no_rope_layer_interval", 4);
  const rotated = inner.integers("no_rope_layers");
  const isRotated = (layer: number) => (rotated.length > 0 ? rotated[layer] === 1 : (layer + 1) % interval !== 0);
  const types = layerTypes(frame, ["chunked_attention", "full_attention"], (layer) =>
    isRotated(layer) ? "chunked_attention" : "full_attention",
  );
  const outer = text === undefined ? "" : "language_model.";
  return describeDecoder(
    config.string("model_type"),
    frame,
    (index, prefix) => ({
      aroundMixer: preNorm(`${prefix}input_layernorm.weight`, frame),
      mixer: attention(`${prefix}self_attn.`, frame, isRotated(index), types[index] === "chunked_attention"),
      aroundFeedForward: preNorm(`${prefix}post_attention_layernorm.weight`, frame),
      feedForward: isMoe(index)
        ? {
            kind: "moe",
            activation,
            router: {
              weight: `${prefix}feed_forward.router.weight`,
              scores: "sigmoid",
              chooseBy: "logits",
              topK,
              normalise: false,
              scalesInputs: true,
            },
            experts: readExperts(`${prefix}feed_forward.experts.`, width, frame, undefined, "columns"),
            shared: gatedBlock(`${prefix}feed_forward.shared_expert.`, width, frame),
          }
        : { kind: "dense", ...gatedBlock(`${prefix}feed_forward.`, inner.count("intermediate_size_mlp"), frame) },
    }),
    {
      prefix: `${outer}model.`,
      head: `${outer}lm_head`,
      tied: inner.boolean("tie_word_embeddings", config.boolean("tie_word_embeddings", false)),
    },
  );
}

function attention(prefix: string, frame: Frame, rotated: boolean, chunked: boolean): AttentionDescription {
  const { config, epsilon } = frame;
  const { headSize } = readHeads(frame);
  const rope = rotated ? readRope(config, headSize, 500_000, { pairing: "adjacent" }) : undefined;
  const norm: Norm = { kind: "rms", size: headSize, epsilon };
  const normed = rotated && config.boolean("use_qk_norm", true);
  const tuned = !rotated && config.flag("attn_temperature_tuning", true);
  return {
    ...groupedQueryAttention(prefix, frame, rope, { bias: config.boolean("attention_bias", false) }),
    chunk: chunked ? config.count("attention_chunk_size", 8192) : undefined,
    ...(normed ? { queryNorm: norm, keyNorm: norm, normsRotated: true } : {}),
    temperature: tuned
      ? { floorScale: config.count("floor_scale", 8192), scale: config.number("attn_scale", 0.1), first: 1 }
      : undefined,
  };
}
