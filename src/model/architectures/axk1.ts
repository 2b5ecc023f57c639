import type { ConfigReader } from "../config.js";
import type { ModelDescription, RouterDescription } from "../description.js";
import { correctedRouter, deepseekMoe, latentAttention } from "./deepseek-parts.js";
import {
  denseBlock,
  describeDecoder,
  expectOption,
  preNorm,
  readFrame,
  rmsNorm,
  sparseByType,
  type TensorNames,
} from "./parts.js";

/** A.X K1: DeepSeek-V3 with a norm behind the experts; released checkpoints have no correction bias. */
export function describeAxk1(config: ConfigReader, tensors: TensorNames): ModelDescription {
  expectOption(config, "scoring_func", ["sigmoid"]);
  expectOption(config, "moe_layer_freq", [1]);
  const frame = readFrame(config, tensors);
  const isSparse = sparseByType(frame, config.number("first_k_dense_replace", 1));
  const adjacent = config.boolean("rope_interleave", true);
  const router = (prefix: string): RouterDescription => {
    const { selectionBias, ...rule } = correctedRouter(prefix, frame);
    return selectionBias !== undefined && tensors.has(selectionBias) ? { ...rule, selectionBias } : rule;
  };
  return describeDecoder("axk1", frame, (index, prefix) => {
    const sparse = isSparse(index);
    const around = preNorm(`${prefix}post_attention_layernorm.weight`, frame);
    const outputNorm = rmsNorm(`${prefix}post_mlp_layernorm.weight`, frame.hidden, frame.epsilon);
    return {
      aroundMixer: preNorm(`${prefix}input_layernorm.weight`, frame),
      mixer: latentAttention(`${prefix}self_attn.`, frame, adjacent),
      aroundFeedForward: sparse ? { ...around, outputNorm } : around,
      feedForward: sparse ? deepseekMoe(prefix, frame, router(prefix)) : denseBlock(prefix, frame),
    };
  });
}
