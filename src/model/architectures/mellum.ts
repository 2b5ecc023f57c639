import type { ConfigReader } from "../config.js";
import type { ModelDescription } from "../description.js";
import { readRope, ropeOfType } from "../rope.js";
import {
  type DecoderLayer,
  denseBlock,
  describeDecoder,
  groupedQueryAttention,
  headNorms,
  layerTypes,
  preNorm,
  readFrame,
  readHeads,
  softmaxMoe,
  sparseByType,
  type TensorNames,
} from "./parts.js";
import { separatePrediction } from "./predictions.js";

/** Mellum 2: Qwen3-MoE with windows in some layers, whose rotary angles are their own. */
export function describeMellum(config: ConfigReader, tensors: TensorNames): ModelDescription {
  const frame = readFrame(config, tensors);
  const { headSize } = readHeads(frame);
  const bias = config.boolean("attention_bias", false);
  const width = config.count("moe_intermediate_size");
  const isSparse = sparseByType(frame, 0);
  const types = layerTypes(frame, ["full_attention", "sliding_attention"], () => "full_attention");
  const predictionType =
    config.strings("mtp_layer_types")[0] === "full_attention" ? "full_attention" : "sliding_attention";
  const layer = (index: number, prefix: string): DecoderLayer => {
    // Behind the last layer is the one for multi-token prediction.
    const type = types[index] ?? predictionType;
    const sliding = type === "sliding_attention";
    const rope = readRope(ropeOfType(config, type), headSize, sliding ? 10_000 : 500_000);
    return {
      aroundMixer: preNorm(`${prefix}input_layernorm.weight`, frame),
      mixer: {
        ...groupedQueryAttention(`${prefix}self_attn.`, frame, rope, { bias }),
        ...headNorms(`${prefix}self_attn.`, headSize, frame.epsilon),
        window: sliding ? config.count("sliding_window", 1024) : undefined,
      },
      aroundFeedForward: preNorm(`${prefix}post_attention_layernorm.weight`, frame),
      feedForward: isSparse(index)
        ? softmaxMoe(prefix, width, frame, config.boolean("norm_topk_prob", true))
        : denseBlock(prefix, frame),
    };
  };
  return describeDecoder("mellum", frame, layer, separatePrediction(frame, layer));
}
